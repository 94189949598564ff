use super::*;

/// What the page does in columns.js, reimplemented: `count` values of `width` bytes.
fn from_planes(bytes: &[u8], count: usize, width: usize) -> Vec<Vec<u8>> {
    (0..count).map(|at| (0..width).map(|plane| bytes[plane * count + at]).collect()).collect()
}

fn u32s(bytes: &[u8], count: usize) -> Vec<u32> {
    from_planes(bytes, count, 4).iter().map(|value| u32::from_le_bytes(value[..].try_into().unwrap())).collect()
}

fn texts(bytes: &[u8], count: usize) -> (Vec<Option<String>>, usize) {
    let mut at = 4 * count;
    let text = |length: u32| {
        if length == NULL {
            return None;
        }
        let begin = at;
        at += length as usize;
        Some(String::from_utf8(bytes[begin..at].to_vec()).unwrap())
    };
    (u32s(bytes, count).into_iter().map(text).collect(), at)
}

fn some<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    values.iter().cloned().map(Some).collect()
}

#[test]
fn integers_take_the_least_bytes_that_hold_them() {
    let of = |values: &[i64]| column(&ColumnData::I64(some(values)), false).header.value;
    let edges = [(vec![0, 255], Value::U8), (vec![256], Value::U16), (vec![65_535], Value::U16)];
    let wide = [(vec![65_536], Value::U32), (vec![i64::from(u32::MAX)], Value::U32), (vec![-1, 300], Value::I32)];
    for (values, expected) in edges.into_iter().chain(wide) {
        assert_eq!(of(&values), expected, "{values:?}");
    }
    let packed = column(&ColumnData::U32(vec![Some(1), None, Some(70_000)]), false);
    assert!(packed.header.nulls && packed.header.value == Value::U32);
    assert_eq!(u32s(&packed.bytes, 3), [1, 0, 70_000]);
    assert_eq!(packed.bytes[12..], [0, 1, 0]);
    let packed = column(&ColumnData::Bool(vec![Some(true), None]), false);
    assert_eq!((packed.header.kind, packed.bytes), (Kind::Bool, vec![1, 0, 0, 1]));
}

#[test]
fn keys_are_stored_as_differences_and_larger_numbers_as_text() {
    let keys = [8_000_000_000_000_000, 8_000_000_000_000_001, 3_000_000_000];
    let packed = column(&ColumnData::I64(some(&keys)), false);
    assert_eq!(packed.header.kind, Kind::Difference);
    let mut sum = 0.0;
    let read: Vec<i64> = from_planes(&packed.bytes, 3, 8)
        .iter()
        .map(|value| {
            sum += f64::from_le_bytes(value[..].try_into().unwrap());
            sum as i64
        })
        .collect();
    assert_eq!(read, keys);
    let packed = column(&ColumnData::I64(vec![Some(i64::MAX), None, Some(1), Some(2)]), false);
    assert_eq!(packed.header.kind, Kind::Text);
    assert_eq!(texts(&packed.bytes, 4).0, [Some(i64::MAX.to_string()), None, Some("1".into()), Some("2".into())]);
}

#[test]
fn numbers_keep_seven_digits_and_rounded_four() {
    let values = [0.1, -1234.567, 0.0, 3.4e38];
    let read = |packed: &Packed| -> Vec<f32> { u32s(&packed.bytes, 4).into_iter().map(f32::from_bits).collect() };
    let exact = column(&ColumnData::F64(some(&values)), false);
    assert_eq!(read(&exact), values.map(|value| value as f32));
    let rounded = column(&ColumnData::F64(some(&values)), true);
    assert!(rounded.bytes[..4].iter().all(|&low| low == 0));
    for (found, value) in read(&rounded).into_iter().zip(values) {
        assert!((f64::from(found) - value).abs() <= value.abs() * 2f64.powi(-15), "{found} {value}");
    }
    let infinite = column(&ColumnData::F32(vec![Some(f32::INFINITY), None, Some(1.0), Some(-0.0)]), true);
    let found = read(&infinite);
    assert!(found[0] == f32::INFINITY && found[1].is_nan() && found[2] == 1.0 && found[3] == 0.0);
    // What single precision cannot hold.
    for beyond in [1e-300, 1e300] {
        assert_eq!(column(&ColumnData::F64(vec![Some(beyond)]), false).header.value, Value::F64);
    }
}

#[test]
fn texts_that_repeat_are_a_dictionary() {
    let text = |values: &[&str]| {
        column(&ColumnData::Str(some(values).into_iter().map(|v| v.map(str::to_owned)).collect()), false)
    };
    let packed = text(&["a", "", "\u{e9}\u{e9}"]);
    assert_eq!(packed.header.kind, Kind::Text);
    assert_eq!(texts(&packed.bytes, 3).0, [Some("a".into()), Some(String::new()), Some("\u{e9}\u{e9}".into())]);
    let packed = text(&["b", "a", "b", "b"]);
    assert_eq!((packed.header.kind, packed.header.value), (Kind::Dictionary, Value::U8));
    assert_eq!(packed.bytes[..4], 2u32.to_le_bytes());
    let (words, end) = texts(&packed.bytes[4..], 2);
    assert_eq!(words, [Some("b".into()), Some("a".into())]);
    assert_eq!(packed.bytes[4 + end..], [0, 1, 0, 0]);
    // 300 words need two bytes; 70,000 are too many.
    let many: Vec<Option<String>> = (0..1200).map(|at| Some((at % 300).to_string())).collect();
    assert_eq!(column(&ColumnData::Str(many), false).header.value, Value::U16);
    let more: Vec<Option<String>> = (0..140_000).map(|at| Some((at / 2).to_string())).collect();
    assert_eq!(column(&ColumnData::Str(more), false).header.kind, Kind::Text);
    assert_eq!(column(&ColumnData::Str(vec![]), false).header.kind, Kind::Dictionary);
}

#[test]
fn rounded_places_are_within_a_65535th_of_the_width() {
    let values: Vec<f32> = (0..1000).map(|at| (at as f32 * 0.37).sin() * 25.0 - 3.0).collect();
    let (packed, [low, high]) = places(&values, true);
    for (code, value) in from_planes(&packed.bytes, 1000, 2).iter().zip(&values) {
        let code = f32::from(u16::from_le_bytes([code[0], code[1]]));
        let found = low + (high - low) * code / 65_535.0;
        assert!((found - value).abs() <= (high - low) / 65_535.0, "{found} {value}");
    }
    // All in one place.
    assert_eq!(places(&[2.5; 3], true).0.bytes, [0; 6]);
    assert_eq!(places(&[2.5], false).1, [2.5, 2.5]);
}
