//! As much of protobuf's wire format as the events need (protobuf.dev/programming-guides/encoding).

/// A message, built field by field.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

/// How the value of a field is stored.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    /// A `double`.
    pub(super) fn double(self, field: u64, value: f64) -> Self {
        self.key(field, FIXED_64).raw(&value.to_le_bytes())
    }

    /// A `float`.
    pub(super) fn float(self, field: u64, value: f32) -> Self {
        self.key(field, FIXED_32).raw(&value.to_le_bytes())
    }

    /// An integer or an enum.
    pub(super) fn varint(self, field: u64, value: u64) -> Self {
        self.key(field, VARINT).base_128(value)
    }

    /// A string, bytes or a message.
    pub(super) fn bytes(self, field: u64, value: &[u8]) -> Self {
        self.key(field, LENGTH_DELIMITED).base_128(value.len() as u64).raw(value)
    }

    fn key(self, field: u64, wire_type: u64) -> Self {
        self.base_128(field << 3 | wire_type)
    }

    /// Seven bits per byte, lowest first; the eighth means that more follow.
    fn base_128(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_as_in_the_specification() {
        // 150 is 96 01 in the specification; 2^64 - 1 fills ten bytes.
        assert_eq!(Message::default().varint(1, 150).as_ref(), [0x08, 0x96, 0x01]);
        let most = Message::default().varint(1, u64::MAX);
        assert_eq!(most.as_ref(), [[8].as_slice(), &[0xff; 9], &[1]].concat());
        assert_eq!(Message::default().bytes(2, b"testing").as_ref(), b"\x12\x07testing");
    }
}
