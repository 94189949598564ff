use super::*;

fn column(name: &str, values: &[Option<u32>]) -> Column {
    Column { name: name.into(), data: ColumnData::U32(values.to_vec()) }
}

/// Six rows on three axes: clusters 0 (rows 0, 1, 5), 1 (row 2), 2 (row 4), and row 3 as noise.
fn table(confidence: &[f32]) -> GroupTable {
    let values = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.6, 0.8, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    let columns = [
        column("length", &[Some(10), Some(30), Some(7), Some(100), None, Some(40)]),
        column("piece", &[Some(1), None, None, Some(2), Some(2), None]),
        Column { name: "share".into(), data: ColumnData::F32([0.5, 0.25, 0.1, 0.2, 0.3, 1.0].map(Some).to_vec()) },
        Column { name: "name".into(), data: ColumnData::Str(vec![None; 6]) },
    ];
    let of = |column: &str| column.to_owned();
    let figures = vec![
        GroupFigure::new("bases", FigureRule::Sum { column: of("length") }),
        GroupFigure::new("n50", FigureRule::N50 { column: of("length") }),
        GroupFigure::new("share", FigureRule::Mean { column: of("share"), weight: Some(of("length")) }),
        GroupFigure::new("size", FigureRule::Ratio { of: of("bases"), over: of("share") }),
        GroupFigure::new("alone", FigureRule::Missing { column: of("piece") }),
        GroupFigure::new("absent", FigureRule::Sum { column: of("absent") }),
        GroupFigure::new("text", FigureRule::Sum { column: of("name") }),
    ];
    let asked = GroupFigures { noun: "rows".into(), figures };
    let (labels, probability) = (&[0, 0, 1, -1, 2, 0], &[1.0, 0.49, 0.5, 0.0, 0.2, 1.0]);
    let of = Labelled { labels, probability, confidence, are_shares: !confidence.is_empty() };
    GroupTable::new(Rows::new(&values, 3).unwrap(), of, &asked, &columns).unwrap()
}

#[test]
fn figures_by_hand() {
    let table = table(&[0.75, 0.5, 1.0]);
    assert_eq!(table.figures, ["bases", "n50", "share", "size", "alone"]);
    let [first, second, third, noise] = &table.groups[..] else { panic!("{table:?}") };
    // 10 + 30 + 40; 40 is half of 80; (0.5 * 10 + 0.25 * 30 + 1 * 40) / 80; 80 / that; two of three.
    let share = 52.5 / 80.0;
    assert_eq!(first.figures, [Some(80.0), Some(40.0), Some(share), Some(80.0 / share), Some(2.0 / 3.0)]);
    // A row without a length has no bases.
    assert_eq!(third.figures, [None, None, None, None, Some(0.0)]);
    assert_eq!(noise.figures[0], Some(100.0));
    assert_eq!(table.figure(second, "bases"), Some(7.0));
    assert_eq!(table.figure(second, "absent"), None);
    // Cluster 0 lies on x, 1 at (0.6, 0.8, 0), 2 on z.
    assert_eq!((first.nearest, second.nearest, third.nearest.is_some(), noise.nearest), (Some(1), Some(0), true, None));
    assert!((first.distance.unwrap() - 0.4).abs() < 1e-6 && (third.distance.unwrap() - 1.0).abs() < 1e-6);
    assert_eq!([first, second, third, noise].map(|group| group.doubtful), [Some(1), Some(0), Some(1), None]);
    assert_eq!([first, second, third, noise].map(|group| group.confidence), [Some(0.75), Some(0.5), Some(1.0), None]);
    assert_eq!(
        [first, second, third, noise].map(|group| (group.cluster, group.members)),
        [(0, 3), (1, 1), (2, 1), (-1, 1)]
    );
}

#[test]
fn what_is_not_known_is_empty_in_the_text() {
    let mut table = table(&[]);
    let apart = Contrast { column: "share".into(), value: None, own: 0.5, others: 0.25, effect: 2.0 };
    table.groups[0].apart = vec![apart];
    let ids = ["a", "b\tc", "d", "e", "f", "g"].map(str::to_owned);
    let text = table.to_tsv(&ids, Some(&[10, 11, 12, 13, 14, 15]));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "cluster\trows\tbases\tn50\tshare\tsize\talone\tconfidence\tdoubtful\tnearest_cluster\tcosine_distance\t\
         set_apart\tmedoid\texemplars\texemplar_keys"
    );
    let apart = "share 0.5, others 0.25 (d +2.0)";
    assert_eq!(lines[1], format!("0\t3\t80\t40\t0.6562\t121.9048\t0.6667\t\t\t1\t0.4000\t{apart}\ta\ta\t10"));
    assert_eq!(lines[2].rsplit('\t').take(3).collect::<Vec<_>>(), ["12", "d", "d"]);
    assert_eq!(lines[4], "-1\t1\t100\t100\t0.2000\t500.0000\t0\t\t\t\t\t\t\t\t");
    // A name that would end its cell does not end it.
    table.groups[0].exemplars = vec![1, 5];
    let text = table.to_tsv(&ids, None);
    assert!(text.lines().nth(1).unwrap().ends_with("\tb c\tb c; g\t"), "{text}");
    assert_eq!(lines.len(), 5);
}

#[test]
fn nothing_and_one_cluster() {
    let of = Labelled { labels: &[], probability: &[], confidence: &[], are_shares: true };
    let empty = GroupTable::new(Rows::new(&[], 2).unwrap(), of, &GroupFigures::default(), &[]).unwrap();
    assert_eq!(empty.to_tsv(&[], None).lines().count(), 1);
    let of = Labelled { labels: &[0, 0], probability: &[1.0, 1.0], confidence: &[1.0], are_shares: true };
    let rows = [1.0, 0.0, 0.0, 1.0];
    let one = GroupTable::new(Rows::new(&rows, 2).unwrap(), of, &GroupFigures::default(), &[]).unwrap();
    assert_eq!((one.groups.len(), one.groups[0].nearest), (1, None));
    let short = [column("length", &[Some(1)])];
    let error = GroupTable::new(Rows::new(&rows, 2).unwrap(), of, &GroupFigures::default(), &short).unwrap_err();
    assert_eq!(error.to_string(), "values of a column: expected 2, found 1");
}
