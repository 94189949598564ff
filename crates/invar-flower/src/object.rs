//! Objects: what a message is cut into. One is `KIND CHILD,CHILD,.. LENGTH`, a zero byte and LENGTH bytes, and its name is
//! the SHA-256 of all that (`flwr/supercore/inflatable/inflatable_object.py` of Flower 1.42).

use std::{collections::BTreeMap, fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::{Error, proto::ObjectTree};

/// The name of an object: the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// The name of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ObjectId {
    type Err = Error;

    /// Of 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        let error = || {
            let start: String = text.chars().take(80).collect();
            Error::object("name of an object", "64 hexadecimal digits", format!("{start:?}"))
        };
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(error()),
        };
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| error())?;
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(id))
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Message,
    RecordDict,
    ArrayRecord,
    MetricRecord,
    ConfigRecord,
    Array,
    ArrayChunk,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Message,
        Self::RecordDict,
        Self::ArrayRecord,
        Self::MetricRecord,
        Self::ConfigRecord,
        Self::Array,
        Self::ArrayChunk,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Message => "Message",
            Self::RecordDict => "RecordDict",
            Self::ArrayRecord => "ArrayRecord",
            Self::MetricRecord => "MetricRecord",
            Self::ConfigRecord => "ConfigRecord",
            Self::Array => "Array",
            Self::ArrayChunk => "ArrayChunk",
        }
    }
}

/// An object, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object<'a> {
    pub(crate) kind: Kind,
    /// No two the same.
    pub(crate) children: Vec<ObjectId>,
    pub(crate) body: &'a [u8],
}

impl<'a> Object<'a> {
    /// Reads the bytes of an object.
    ///
    /// # Errors
    /// [`Error::Object`] if they are none, or are cut short.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let end = bytes.iter().position(|&byte| byte == 0);
        let end = end.ok_or_else(|| Error::object("object", "a head that ends with a zero byte", "none"))?;
        let (head, body) = (&bytes[..end], &bytes[end + 1..]);
        let of_head = |found: String| Error::object("head of an object", "KIND CHILDREN LENGTH", found);
        let text = std::str::from_utf8(head).map_err(|_| of_head("bytes that are not UTF-8".into()))?;
        let parts: Vec<&str> = text.split(' ').collect();
        let &[kind, children, length] = &parts[..] else {
            return Err(of_head(format!("{} words", parts.len())));
        };
        let found = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let kind = found.ok_or_else(|| {
            let start: String = kind.chars().take(80).collect();
            Error::object("kind of an object", "one of Flower 1.42", format!("{start:?}"))
        })?;
        let ids = children.split(',').filter(|_| !children.is_empty()).map(str::parse);
        let children = ids.collect::<Result<Vec<ObjectId>, Error>>()?;
        let mut sorted = children.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::object("children of an object", "each once", format!("{} twice", pair[0])));
        }
        if length != body.len().to_string() {
            let start: String = length.chars().take(20).collect();
            return Err(Error::object("body of an object", format!("{start} bytes"), format!("{} bytes", body.len())));
        }
        Ok(Self { kind, children, body })
    }

    /// The bytes of the object.
    pub(crate) fn write(&self) -> Vec<u8> {
        let children: Vec<String> = self.children.iter().map(ObjectId::to_string).collect();
        let mut bytes = format!("{} {} {}\0", self.kind.name(), children.join(","), self.body.len()).into_bytes();
        bytes.extend_from_slice(self.body);
        bytes
    }
}

/// Objects by name, as they are sent or came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects(BTreeMap<ObjectId, Vec<u8>>);

impl Objects {
    /// Adds an object of children that are there already. Returns its name.
    pub(crate) fn add(&mut self, kind: Kind, children: &[ObjectId], body: &[u8]) -> ObjectId {
        let mut once = Vec::with_capacity(children.len());
        for &child in children {
            if !once.contains(&child) {
                once.push(child);
            }
        }
        let bytes = Object { kind, children: once, body }.write();
        let id = ObjectId::of(&bytes);
        self.0.insert(id, bytes);
        id
    }

    /// Adds what came under a name.
    ///
    /// # Errors
    /// [`Error::Digest`] if it is something else.
    pub(crate) fn add_bytes(&mut self, id: ObjectId, bytes: Vec<u8>) -> Result<(), Error> {
        let found = ObjectId::of(&bytes);
        if found != id {
            return Err(Error::Digest { expected: id, found, bytes: bytes.len() });
        }
        self.0.insert(id, bytes);
        Ok(())
    }

    pub(crate) fn bytes(&self, id: ObjectId) -> Result<&[u8], Error> {
        self.0.get(&id).map(Vec::as_slice).ok_or(Error::NoObject(id))
    }

    pub(crate) fn contains(&self, id: ObjectId) -> bool {
        self.0.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// An object of a kind.
    pub(crate) fn get(&self, id: ObjectId, kind: Kind) -> Result<Object<'_>, Error> {
        let object = Object::read(self.bytes(id)?)?;
        if object.kind == kind {
            Ok(object)
        } else {
            Err(Error::object("kind of an object", kind.name(), object.kind.name()))
        }
    }

    /// The objects below a name, as the SuperLink asks for them.
    pub(crate) fn tree(&self, id: ObjectId) -> Result<ObjectTree, Error> {
        let children = Object::read(self.bytes(id)?)?.children;
        let children = children.into_iter().map(|child| self.tree(child)).collect::<Result<_, _>>()?;
        Ok(ObjectTree { object_id: id.to_string(), children })
    }
}

/// How much of one message is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one object. Flower cuts arrays into 5 MiB unless told otherwise.
    pub object_bytes: u64,
    /// Bytes of all objects of a message.
    pub message_bytes: u64,
    /// Objects of a message.
    pub num_objects: u64,
    /// Bytes of an answer that is no object: a message without its content, an error.
    pub answer_bytes: u64,
}

impl Default for Limits {
    /// 64 MiB, 4 GiB, 100,000 and 32 MiB.
    fn default() -> Self {
        Self { object_bytes: 64 << 20, message_bytes: 4 << 30, num_objects: 100_000, answer_bytes: 32 << 20 }
    }
}

/// Gets all objects below `root`, each once, by asking `pull` for one at a time.
///
/// What is below what is read from objects whose digest is that of their name, and a kind has only children of certain
/// kinds: there are five levels at most, whatever the server says.
///
/// # Errors
/// Those of `pull`; [`Error::Digest`], [`Error::Object`] and [`Error::TooMuch`] for what came.
pub(crate) fn pull_all(
    root: ObjectId,
    limits: &Limits,
    mut pull: impl FnMut(ObjectId) -> Result<Vec<u8>, Error>,
) -> Result<Objects, Error> {
    let mut objects = Objects::default();
    let mut num_bytes = 0;
    let mut open = vec![(root, &[Kind::Message][..])];
    while let Some((id, kinds)) = open.pop() {
        if objects.contains(id) {
            let kind = Object::read(objects.bytes(id)?)?.kind;
            belongs(kind, kinds)?;
            continue;
        }
        let num_objects = objects.len() as u64 + 1;
        if num_objects > limits.num_objects {
            let what = "objects of a message";
            return Err(Error::TooMuch { what, limit: limits.num_objects, found: num_objects });
        }
        let bytes = pull(id)?;
        num_bytes += bytes.len() as u64;
        if num_bytes > limits.message_bytes {
            let what = "bytes of all objects of a message";
            return Err(Error::TooMuch { what, limit: limits.message_bytes, found: num_bytes });
        }
        objects.add_bytes(id, bytes)?;
        let object = Object::read(objects.bytes(id)?)?;
        belongs(object.kind, kinds)?;
        let below: &[Kind] = match object.kind {
            Kind::Message => &[Kind::RecordDict],
            Kind::RecordDict => &[Kind::ArrayRecord, Kind::MetricRecord, Kind::ConfigRecord],
            Kind::ArrayRecord => &[Kind::Array],
            Kind::Array => &[Kind::ArrayChunk],
            Kind::MetricRecord | Kind::ConfigRecord | Kind::ArrayChunk => &[],
        };
        let num_open = (objects.len() + open.len() + object.children.len()) as u64;
        if num_open > limits.num_objects {
            let what = "objects of a message";
            return Err(Error::TooMuch { what, limit: limits.num_objects, found: num_open });
        }
        open.extend(object.children.into_iter().map(|child| (child, below)));
    }
    Ok(objects)
}

fn belongs(kind: Kind, kinds: &[Kind]) -> Result<(), Error> {
    if kinds.contains(&kind) {
        return Ok(());
    }
    let expected: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let expected = if expected.is_empty() { "no object there".into() } else { expected.join(" or ") };
    Err(Error::object("kind of an object", expected, kind.name()))
}
