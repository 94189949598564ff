//! The entry point of the fuzz target (`fuzz/`): the readers on bytes in memory. Not for other use.

use crate::{
    Array, Records,
    object::{Kind, Object, ObjectId, Objects},
};

/// Reads one object, and its body as whatever it says it is; what can be read is written as the same bytes.
pub fn object(bytes: &[u8]) {
    let _ = Array::of_npy(bytes);
    let Ok(object) = Object::read(bytes) else { return };
    assert_eq!(object.write(), bytes);
    let id = ObjectId::of(bytes);
    let mut objects = Objects::default();
    // A chunk of all the bytes, which an array may name.
    objects.add(Kind::ArrayChunk, &[], bytes);
    objects.add_bytes(id, bytes.to_vec()).expect("the name is that of the bytes");
    let _ = (Records::read(id, &objects), Array::read(id, &objects));
    let record = objects.add(Kind::RecordDict, &[id], format!("{{\"a\": \"{id}\"}}").as_bytes());
    if let Ok(records) = Records::read(record, &objects) {
        // By name: what is not a number is not equal to itself.
        let mut again = Objects::default();
        let id = records.write(&mut again);
        let records = Records::read(id, &again).expect("what was written can be read");
        assert_eq!(records.write(&mut Objects::default()), id);
    }
}
