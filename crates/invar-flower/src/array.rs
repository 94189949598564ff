//! Arrays: JSON of type and shape, and the bytes of a `.npy` file in chunks of 5 MiB.

use serde::Deserialize;

use crate::{
    Error,
    object::{Kind, ObjectId, Objects},
};

/// What Flower cuts arrays into.
const CHUNK_BYTES: usize = 5 << 20;
/// How the bytes of an array are written.
const NPY: &str = "numpy.ndarray";
const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// An array, in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    elements: Elements,
}

/// The elements of an array.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the types themselves")]
pub enum Elements {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl Elements {
    /// Its name in numpy, and the letter of its type in a `.npy` file.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::U8(_) => ("uint8", "|u1"),
            Self::F32(_) => ("float32", "<f4"),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::U8(elements) => elements.len(),
            Self::F32(elements) => elements.len(),
        }
    }
}

impl Array {
    /// An array of a shape.
    ///
    /// # Panics
    /// If the shape has another number of elements.
    pub fn new(shape: Vec<usize>, elements: Elements) -> Self {
        assert_eq!(shape.iter().product::<usize>(), elements.len(), "elements of an array of shape {shape:?}");
        Self { shape, elements }
    }

    /// Bytes, such as those of a file, as an array of one axis.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { shape: vec![bytes.len()], elements: Elements::U8(bytes) }
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, the last axis the fastest.
    pub fn elements(&self) -> &Elements {
        &self.elements
    }

    /// The bytes of an array of bytes of one axis, as [`Array::of_bytes`] makes it.
    ///
    /// # Errors
    /// [`Error::Object`] for any other array.
    pub fn bytes(&self) -> Result<&[u8], Error> {
        match &self.elements {
            Elements::U8(bytes) if self.shape.len() == 1 => Ok(bytes),
            elements => {
                let found = format!("{} of shape {:?}", elements.names().0, self.shape);
                Err(Error::object("array", "uint8 of one axis", found))
            }
        }
    }

    pub(crate) fn write(&self, objects: &mut Objects) -> ObjectId {
        let (npy, mut chunks, mut indices) = (self.npy(), Vec::new(), Vec::new());
        for chunk in npy.chunks(CHUNK_BYTES) {
            let id = objects.add(Kind::ArrayChunk, &[], chunk);
            let index = chunks.iter().position(|&other| other == id).unwrap_or(chunks.len());
            if index == chunks.len() {
                chunks.push(id);
            }
            indices.push(index.to_string());
        }
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let body = format!(
            r#"{{"dtype": "{}", "shape": [{}], "stype": "{NPY}", "arraychunk_ids": [{}]}}"#,
            self.elements.names().0,
            shape.join(", "),
            indices.join(", ")
        );
        objects.add(Kind::Array, &chunks, body.as_bytes())
    }

    pub(crate) fn read(id: ObjectId, objects: &Objects) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            dtype: String,
            shape: Vec<usize>,
            stype: String,
            arraychunk_ids: Vec<usize>,
        }
        let object = objects.get(id, Kind::Array)?;
        let head: Head = serde_json::from_slice(object.body)
            .map_err(|error| Error::object("array", "JSON of its type and shape", error.to_string()))?;
        if head.stype != NPY {
            return Err(Error::object("array", NPY, format!("{:?}", head.stype)));
        }
        // A chunk can be named many times, so that little could stand for much.
        let mut num_bytes = 0;
        let mut chunks = Vec::with_capacity(head.arraychunk_ids.len());
        for index in head.arraychunk_ids {
            let child = object.children.get(index).ok_or_else(|| {
                let expected = format!("one of the {} below it", object.children.len());
                Error::object("chunk of an array", expected, format!("number {index}"))
            })?;
            let chunk = objects.get(*child, Kind::ArrayChunk)?.body;
            num_bytes += chunk.len() as u64;
            chunks.push(chunk);
        }
        let expected = npy_bytes(&head.dtype, &head.shape)?;
        if num_bytes > expected {
            return Err(Error::TooMuch { what: "bytes of the chunks of an array", limit: expected, found: num_bytes });
        }
        let array = Self::of_npy(&chunks.concat())?;
        if array.elements.names().0 != head.dtype || array.shape != head.shape {
            let found = format!("{} of shape {:?}", array.elements.names().0, array.shape);
            return Err(Error::object("array", format!("{} of shape {:?}", head.dtype, head.shape), found));
        }
        Ok(array)
    }

    /// The bytes of a `.npy` file, as `numpy.save` of numpy 2 writes them (version 1.0 of the format).
    fn npy(&self) -> Vec<u8> {
        let axes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let comma = if axes.len() == 1 { "," } else { "" };
        let descr = self.elements.names().1;
        let mut head =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", axes.join(", "));
        // Room for the first axis to grow to 21 digits, then up to a multiple of 64 bytes.
        if let Some(first) = axes.first() {
            head.push_str(&" ".repeat(21usize.saturating_sub(first.len())));
        }
        let before = MAGIC.len() + 4;
        head.push_str(&" ".repeat(64 - (before + head.len() + 1) % 64));
        head.push('\n');
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[1, 0]);
        // At most 32 axes of 20 digits: far less than 64 KiB.
        bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
        bytes.extend_from_slice(head.as_bytes());
        match &self.elements {
            Elements::U8(elements) => bytes.extend_from_slice(elements),
            Elements::F32(elements) => bytes.extend(elements.iter().flat_map(|element| element.to_le_bytes())),
        }
        bytes
    }

    /// Reads a `.npy` file.
    ///
    /// # Errors
    /// [`Error::Object`] if it is none, or of another type than bytes and little-endian single precision.
    pub(crate) fn of_npy(bytes: &[u8]) -> Result<Self, Error> {
        let not = |found: String| Error::object("array", "a .npy file in C order, of |u1 or <f4", found);
        let cut = || not(format!("one cut short, of {} bytes", bytes.len()));
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| not("another start".into()))?;
        let (version, rest) = rest.split_at_checked(2).ok_or_else(cut)?;
        let (length, rest) = match version[0] {
            1 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest)),
            2 | 3 => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
            other => return Err(not(format!("version {other} of the format"))),
        }
        .ok_or_else(cut)?;
        let (head, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        let head = std::str::from_utf8(head).map_err(|_| not("a head that is not UTF-8".into()))?;
        let (descr, shape) = npy_head(head).ok_or_else(|| {
            let start: String = head.chars().take(120).collect();
            not(format!("the head {start:?}"))
        })?;
        let num = shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
        let fits = |size: usize| match num.and_then(|num| num.checked_mul(size)) {
            Some(bytes) if bytes == data.len() => Ok(()),
            _ => Err(not(format!("{} bytes for {descr} of shape {shape:?}", data.len()))),
        };
        let elements = match descr {
            "|u1" => fits(1).map(|()| Elements::U8(data.to_vec()))?,
            "<f4" => {
                fits(4)?;
                Elements::F32(data.as_chunks().0.iter().map(|&element| f32::from_le_bytes(element)).collect())
            }
            other => return Err(not(format!("type {other:?}"))),
        };
        Ok(Self { shape, elements })
    }
}

/// The most bytes that a `.npy` file of this type and shape has.
fn npy_bytes(dtype: &str, shape: &[usize]) -> Result<u64, Error> {
    let size = match dtype {
        "uint8" => 1,
        "float32" => 4,
        other => return Err(Error::object("type of an array", "uint8 or float32", format!("{other:?}"))),
    };
    let bytes = shape.iter().try_fold(size, |product: u64, &axis| product.checked_mul(axis as u64));
    // The head is a few hundred bytes.
    bytes
        .and_then(|bytes| bytes.checked_add(64 << 10))
        .ok_or_else(|| Error::object("shape of an array", "one of less than 2^64 bytes", format!("{shape:?}")))
}

/// Type and shape of a head such as `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn npy_head(head: &str) -> Option<(&str, Vec<usize>)> {
    let head = head.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut descr, mut shape, mut rest) = (None, None, head.trim());
    let mut is_c_order = false;
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('\'')?.split_once('\'')?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" => {
                let (value, after) = value.strip_prefix('\'')?.split_once('\'')?;
                (descr, rest) = (Some(value), after);
            }
            "fortran_order" => (is_c_order, rest) = (true, value.strip_prefix("False")?),
            "shape" => {
                let (axes, after) = value.strip_prefix('(')?.split_once(')')?;
                let axes = axes.strip_suffix(',').unwrap_or(axes);
                let axes = axes.split(',').filter(|_| !axes.is_empty()).map(|axis| axis.trim().parse().ok());
                (shape, rest) = (Some(axes.collect::<Option<Vec<usize>>>()?), after);
            }
            _ => return None,
        }
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    is_c_order.then_some((descr?, shape?))
}
