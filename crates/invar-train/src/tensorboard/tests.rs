use serde_json::json;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn step() -> Value {
    let timing = json!({"pairs_per_s": 512.5, "unix_s": 1700000000.25});
    json!({"event": "step", "step": 300, "loss": 2.5, "broken": null, "timing": timing})
}

#[test]
fn the_bytes_are_those_of_tensorboards_own_writer() {
    // from tensorboard.compat.proto.event_pb2 import Event
    // from tensorboard.compat.proto.summary_pb2 import Summary
    // from tensorboard.summary.writer.record_writer import RecordWriter
    // from tensorboard.plugins.text.summary_v2 import text_pb
    // V, t, out = Summary.Value, 1700000000.25, io.BytesIO()
    // write = lambda event: RecordWriter(out).write(event.SerializeToString())
    // write(Event(wall_time=t, file_version="brain.Event:2"))
    // write(Event(wall_time=t, step=300, summary=Summary(value=[
    //     V(tag="timing/pairs_per_s", simple_value=512.5), V(tag="train/loss", simple_value=2.5)])))
    // write(Event(wall_time=t, step=300, summary=text_pb("warnings/1", "the loss is 0.98 of ln N")))
    // out.getvalue().hex()
    let expected = concat!(
        "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
        "3c00000000000000c8b7a3520900001040fc54d94110ac022a2e0a190a1274696d696e672f70616972735f7065725f73",
        "15002000440a110a0a747261696e2f6c6f73731500002040206ff5aa",
        "46000000000000007235b9a50900001040fc54d94110ac022a380a360a0a7761726e696e67732f31421e0807120042",
        "18746865206c6f737320697320302e3938206f66206c6e204e4a080a060a0474657874e094d182",
    );
    let warning = json!({"event": "warning", "step": 300, "message": "the loss is 0.98 of ln N"});
    let mut encoder = Encoder::default();
    assert_eq!(hex(&[encoder.encode(&step()), encoder.encode(&warning)].concat()), expected);
}

#[test]
fn checksums_are_masked_crc_32c() {
    // RFC 3720, B.4: 32 bytes of zeros have the CRC aa 36 91 8a, as it is sent.
    assert_eq!(crc32c::crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    // from tensorboard.summary.writer.record_writer import masked_crc32c; masked_crc32c(b"123456789")
    assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
}

/// Tags and values of a summary, read with the wire format written out by hand.
fn decoded(summary: &Message) -> Vec<(String, f32)> {
    let mut rest = summary.as_ref();
    let mut values = vec![];
    while let [0x0a, length, tail @ ..] = rest {
        let (value, tail) = tail.split_at(usize::from(*length));
        let tag = &value[2..2 + usize::from(value[1])];
        let number = value[value.len() - 4..].try_into().unwrap();
        values.push((String::from_utf8(tag.to_vec()).unwrap(), f32::from_le_bytes(number)));
        rest = tail;
    }
    assert!(rest.is_empty());
    values
}

#[test]
fn tags_are_grouped() {
    let metrics = json!({"accuracy": 0.5, "embedding_std": 9.0});
    let validation = json!({
        "event": "validation", "step": 7, "validation_loss": 1.5, "embedding_std": 0.25, "is_best": true,
        "knn_accuracy": null, "metrics": metrics,
    });
    let expected = [("validation/accuracy", 0.5), ("validation/embedding_std", 0.25), ("validation/loss", 1.5)];
    assert_eq!(decoded(&scalars(&validation, "validation")), expected.map(|(tag, value)| (tag.to_owned(), value)));
    let expected = [("timing/pairs_per_s", 512.5), ("train/loss", 2.5)];
    assert_eq!(decoded(&scalars(&step(), "train")), expected.map(|(tag, value)| (tag.to_owned(), value)));
}

#[test]
fn what_has_no_time_happened_at_the_last_step() {
    let mut encoder = Encoder::default();
    // Behind the length and its CRC, and the key of the field.
    let time = |records: Vec<u8>| f64::from_le_bytes(records[13..21].try_into().unwrap());
    encoder.encode(&step());
    let validation = json!({"event": "validation", "step": 301, "validation_loss": 1.0});
    assert_eq!(time(encoder.encode(&validation)), 1_700_000_000.25);
}

#[test]
fn every_warning_of_a_step_has_a_tag_of_its_own() {
    let mut encoder = Encoder::default();
    let mut tag = |step: u64| {
        let records = encoder.encode(&json!({"event": "warning", "step": step, "message": "m"}));
        let at = records.windows(9).rposition(|bytes| bytes == b"warnings/").unwrap();
        char::from(records[at + 9])
    };
    assert_eq!([10, 10, 10, 20, 30, 30].map(&mut tag), ['1', '2', '3', '1', '1', '2']);
}
