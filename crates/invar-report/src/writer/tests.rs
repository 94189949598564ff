use invar_dataset::ColumnData;

use super::*;
use crate::Section;

fn page(title: &str, ids: &[&str], contents: &Contents) -> String {
    let n = ids.len();
    let mut writer = ReportWriter::begin(Vec::new(), title, n).unwrap();
    writer.points(&vec![0.5; n], &vec![1.5; n]).unwrap();
    let data = ColumnData::Str(ids.iter().map(|id| Some((*id).to_owned())).collect());
    writer.column(&Column { name: "<i>name</i>".into(), data }).unwrap();
    String::from_utf8(writer.finish(contents).unwrap()).unwrap()
}

/// The text between the first `begin` after `from` and the next `end`.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let from = text.find(begin).unwrap() + begin.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

#[test]
fn the_policy_names_the_script_and_the_style_of_the_page_and_nothing_else() {
    let page = page("reads", &["a", "b"], &Contents::default());
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    let of = |text: &str| format!("'sha256-{}'", base64::encode(&Sha256::digest(text.as_bytes())));
    let script = between(&page, "<script>", "</script>");
    let style = between(&page, "<style>", "</style>");
    let expected = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data: blob:; base-uri 'none'; form-action 'none'",
        of(script),
        of(style)
    );
    assert_eq!(policy, expected);
    // No address is in the page but the name of SVG.
    assert_eq!(page.matches("//www.").count(), page.matches("http://www.w3.org/2000/svg").count());
    assert!(!page.contains("https:") && !page.contains(" src=") && !page.contains("style=\""));
}

#[test]
fn no_name_becomes_markup() {
    let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' &amp; \u{2028}";
    let section = Section { heading: hostile.into(), sentences: vec![hostile.into()], ..Section::default() };
    let contents = Contents {
        summary: vec![hostile.into()],
        noun: hostile.into(),
        sections: vec![section],
        ..Contents::default()
    };
    let (page, plain) = (page(hostile, &[hostile], &contents), page("a", &["b"], &Contents::default()));
    for markup in ["<script", "</script", "<img", "<i>"] {
        assert_eq!(page.matches(markup).count(), plain.matches(markup).count(), "{markup}");
    }
    assert!(page.contains("<title>&lt;/script&gt;"));
    let header = between(&page, "id=\"contents\">", "</script>");
    let header: serde_json::Value = serde_json::from_str(header).unwrap();
    assert_eq!(header["contents"]["summary"][0], hostile);
    assert_eq!(header["columns"][2]["name"], "<i>name</i>");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let begun = |n| ReportWriter::begin(Vec::new(), "a", n).unwrap();
    let error = begun(2).points(&[1.0], &[1.0, 2.0]).unwrap_err().to_string();
    assert_eq!(error, "column \"x\": expected 2 values, found 1");
    let error = begun(2).points(&[1.0, f32::NAN], &[1.0, 2.0]).unwrap_err().to_string();
    assert!(error.starts_with("row 1: expected a place in the plane, found (NaN, 2"), "{error}");
    let column = Column { name: "gc".into(), data: ColumnData::F32(vec![]) };
    assert!(matches!(begun(1).column(&column), Err(ReportError::Rows { expected: 1, found: 0, .. })));
    assert!(matches!(
        ReportWriter::begin(Vec::new(), "a", MAX_POINTS + 1),
        Err(ReportError::TooMany { most: MAX_POINTS, .. })
    ));
}
