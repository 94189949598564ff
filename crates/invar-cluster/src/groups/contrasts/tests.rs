use proptest::prelude::*;

use super::*;

fn floats(name: &str, values: &[f64]) -> Column {
    let values = values.iter().map(|&value| value.is_finite().then_some(value)).collect();
    Column { name: name.into(), data: ColumnData::F64(values) }
}

fn texts(name: &str, values: &[&str]) -> Column {
    let values = values.iter().map(|&value| (!value.is_empty()).then(|| value.to_owned())).collect();
    Column { name: name.into(), data: ColumnData::Str(values) }
}

fn of(labels: &[i32], telling: &[&str], columns: &[Column]) -> Vec<Vec<Contrast>> {
    let mut contrasts = Contrasts::new(labels, telling);
    columns.iter().for_each(|column| contrasts.add(column).unwrap());
    contrasts.finish()
}

#[test]
fn means_by_hand() {
    // Means 2 and 6, spreads 2 and 2 of 3 + 3 - 2 degrees of freedom: d = -4 / 1.
    let found = of(&[0, 0, 0, 1, 1, 1], &[], &[floats("gc", &[1.0, 2.0, 3.0, 5.0, 6.0, 7.0])]);
    assert_eq!(found[0], [Contrast { column: "gc".into(), value: None, own: 2.0, others: 6.0, effect: -4.0 }]);
    assert_eq!(found[1][0].in_words(), "gc 6, others 2 (d +4.0)");
    // A missing value counts in neither; a group of one has no spread.
    let found = of(&[0, 0, 0, 1, -1], &[], &[floats("gc", &[1.0, f64::NAN, 3.0, 5.0, 6.0])]);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn shares_by_hand() {
    let column = texts("source", &["a", "a", "b", "b", "b", "", "b"]);
    let found = of(&[0, 0, 0, 1, 1, 1, -1], &[], &[column]);
    assert_eq!(found[0][0].in_words(), "source a 67 %, others 0 %");
    assert_eq!(found[1][0].in_words(), "source b 100 %, others 50 %");
    assert_eq!(found.len(), 3);
    // All rows have the same word, or each has its own: nothing to report.
    let many: Vec<String> = (0..120).map(|row| row.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let labels: Vec<i32> = (0..120).map(|row| row / 60).collect();
    assert!(of(&labels, &[], &[texts("one", &["x"; 120]), texts("id", &many)]).iter().all(Vec::is_empty));
}

#[test]
fn whole_numbers_are_names_unless_they_measure() {
    let data = ColumnData::U32([1, 1, 2, 7, 7, 7].map(Some).to_vec());
    let named = |name: &str| Column { name: name.into(), data: data.clone() };
    let labels = [0, 0, 0, 1, 1, 1];
    assert_eq!(of(&labels, &[], &[named("component")])[0][0].value.as_deref(), Some("1"));
    for (name, telling) in [("length_bp", &[][..]), ("num_neighbors", &[]), ("component", &["component"])] {
        assert_eq!(of(&labels, telling, &[named(name)])[0][0].value, None, "{name}");
    }
}

#[test]
fn axes_have_no_ends() {
    // 175 and 5 degrees lie about 0, not about 90.
    let values = [175.0, 5.0, 178.0, 2.0, 88.0, 92.0, 95.0, 85.0];
    let found = of(&[0, 0, 0, 0, 1, 1, 1, 1], &[], &[floats("orientation_deg", &values)]);
    let Contrast { own, others, effect, .. } = found[0][0];
    assert!(own.min(180.0 - own) < 1.0 && (others - 90.0).abs() < 1.0 && effect > 5.0, "{own} {others} {effect}");
}

#[test]
fn the_largest_come_first_and_none_says_another_again() {
    let labels: Vec<i32> = (0..40).map(|row| row / 20).collect();
    let noise = |row: usize| (row * 7919 % 13) as f64;
    let column = |name: &str, of: fn(f64, f64) -> f64| {
        floats(name, &(0..40).map(|row| of(f64::from(labels[row]), noise(row))).collect::<Vec<_>>())
    };
    let columns = [
        column("weak", |label, noise| 4.0 * label + noise),
        column("strong", |label, noise| 40.0 * label + noise),
        column("strong_again", |label, noise| 3.0 - 80.0 * label - noise * 2.0),
        column("none", |_, noise| noise),
    ];
    let names: Vec<String> = of(&labels, &[], &columns)[1].iter().map(|found| found.column.clone()).collect();
    assert_eq!(names, ["strong", "weak"]);
}

#[test]
fn a_column_of_another_length_is_refused() {
    let error = Contrasts::new(&[0, 1], &[]).add(&floats("gc", &[1.0])).unwrap_err();
    assert_eq!(error.to_string(), "values of a column: expected 2, found 1");
}

#[test]
fn numbers_have_three_digits() {
    let shown = [0.0, 0.61234, -0.5, 12.345, 12345.6, 99.96, 1e-5].map(three_digits);
    assert_eq!(shown, ["0", "0.612", "-0.5", "12.3", "12300", "100", "0.00001"]);
}

proptest! {
    /// Against the definition, in two passes.
    #[test]
    fn d_is_that_of_the_definition(values in prop::collection::vec((0..2i32, 1e6..1.001e6f64), 6..60)) {
        let labels: Vec<i32> = values.iter().map(|&(label, _)| label).collect();
        let column: Vec<f64> = values.iter().map(|&(_, value)| value).collect();
        let found = of(&labels, &[], &[floats("x", &column)]);
        let part = |wanted: i32| -> Vec<f64> {
            values.iter().filter(|&&(label, _)| label == wanted).map(|&(_, value)| value).collect()
        };
        let (own, others) = (part(0), part(1));
        prop_assume!(own.len() >= 2 && others.len() >= 2);
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let squares = |of: &[f64]| of.iter().map(|value| (value - mean(of)).powi(2)).sum::<f64>();
        let pooled = ((squares(&own) + squares(&others)) / (values.len() - 2) as f64).sqrt();
        let d = (mean(&own) - mean(&others)) / pooled;
        if d.abs() > LEAST_D + 1e-6 {
            prop_assert!((found[0][0].effect - d).abs() < 1e-6 * d.abs());
        }
    }
}
