//! The content of a message: a `RecordDict` of Flower.

use std::collections::BTreeMap;

use prost::Message as _;
use serde_json::Value;

use crate::{
    Array, Error,
    object::{Kind, ObjectId, Objects},
    proto::{
        BoolList, BytesList, ConfigRecord, ConfigRecordValue, DoubleList, MetricRecord, MetricRecordValue, SintList,
        StringList, UintList, config_record, config_record_value, metric_record, metric_record_value,
    },
};

/// Named groups of arrays, figures and settings. A name belongs to one group of the three kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// `ArrayRecord`s.
    pub arrays: BTreeMap<String, BTreeMap<String, Array>>,
    /// `MetricRecord`s.
    pub metrics: BTreeMap<String, BTreeMap<String, Metric>>,
    /// `ConfigRecord`s.
    pub configs: BTreeMap<String, BTreeMap<String, ConfigValue>>,
}

/// A figure, or a list of them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the types themselves")]
pub enum Metric {
    F64(f64),
    I64(i64),
    U64(u64),
    F64List(Vec<f64>),
    I64List(Vec<i64>),
    U64List(Vec<u64>),
}

/// A setting, or a list of them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the types themselves")]
pub enum ConfigValue {
    F64(f64),
    I64(i64),
    U64(u64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
    F64List(Vec<f64>),
    I64List(Vec<i64>),
    U64List(Vec<u64>),
    BoolList(Vec<bool>),
    TextList(Vec<String>),
    BytesList(Vec<Vec<u8>>),
}

impl Records {
    /// Adds the objects that these records are, and returns the name of the uppermost.
    ///
    /// # Panics
    /// If groups of two kinds have the same name.
    pub(crate) fn write(&self, objects: &mut Objects) -> ObjectId {
        let mut groups: Vec<(&str, ObjectId)> = Vec::new();
        for (name, arrays) in &self.arrays {
            let arrays: Vec<_> = arrays.iter().map(|(name, array)| (name.as_str(), array.write(objects))).collect();
            groups.push((name, named(Kind::ArrayRecord, &arrays, objects)));
        }
        for (name, metrics) in &self.metrics {
            let item = |(key, value): (&String, &Metric)| metric_record::Item {
                key: key.clone(),
                value: Some(MetricRecordValue { value: Some(value.clone().into()) }),
            };
            let body = MetricRecord { items: metrics.iter().map(item).collect() }.encode_to_vec();
            groups.push((name, objects.add(Kind::MetricRecord, &[], &body)));
        }
        for (name, configs) in &self.configs {
            let item = |(key, value): (&String, &ConfigValue)| config_record::Item {
                key: key.clone(),
                value: Some(ConfigRecordValue { value: Some(value.clone().into()) }),
            };
            let body = ConfigRecord { items: configs.iter().map(item).collect() }.encode_to_vec();
            groups.push((name, objects.add(Kind::ConfigRecord, &[], &body)));
        }
        let names: std::collections::BTreeSet<&str> = groups.iter().map(|&(name, _)| name).collect();
        assert_eq!(names.len(), groups.len(), "groups of two kinds have the same name");
        named(Kind::RecordDict, &groups, objects)
    }

    /// Reads the records below a name.
    ///
    /// # Errors
    /// [`Error::Object`] if they are none, or of types that are not known here.
    pub(crate) fn read(id: ObjectId, objects: &Objects) -> Result<Self, Error> {
        let mut records = Self::default();
        for (name, group) in names(id, Kind::RecordDict, objects)? {
            match crate::object::Object::read(objects.bytes(group)?)?.kind {
                Kind::ArrayRecord => {
                    let arrays = names(group, Kind::ArrayRecord, objects)?;
                    let arrays = arrays.into_iter().map(|(name, id)| Ok((name, Array::read(id, objects)?)));
                    records.arrays.insert(name, arrays.collect::<Result<_, Error>>()?);
                }
                Kind::MetricRecord => {
                    let body = objects.get(group, Kind::MetricRecord)?.body;
                    let items = MetricRecord::decode(body).map_err(|error| not_protobuf("metrics", &error))?.items;
                    let value = |value: Option<MetricRecordValue>| value.and_then(|value| value.value);
                    let items = items.into_iter().map(|item| Ok((item.key, present(value(item.value))?.into())));
                    records.metrics.insert(name, items.collect::<Result<_, Error>>()?);
                }
                Kind::ConfigRecord => {
                    let body = objects.get(group, Kind::ConfigRecord)?.body;
                    let items = ConfigRecord::decode(body).map_err(|error| not_protobuf("settings", &error))?.items;
                    let value = |value: Option<ConfigRecordValue>| value.and_then(|value| value.value);
                    let items = items.into_iter().map(|item| Ok((item.key, present(value(item.value))?.into())));
                    records.configs.insert(name, items.collect::<Result<_, Error>>()?);
                }
                kind => return Err(Error::object("record", "arrays, metrics or settings", format!("{kind:?}"))),
            }
        }
        Ok(records)
    }
}

fn not_protobuf(what: &'static str, error: &prost::DecodeError) -> Error {
    Error::object(what, "a record of protobuf", error.to_string())
}

fn present<T>(value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::object("value of a record", "one of the types of Flower 1.42", "none of them"))
}

/// An object that gives names to others.
fn named(kind: Kind, names: &[(&str, ObjectId)], objects: &mut Objects) -> ObjectId {
    let entries: Vec<String> = names.iter().map(|(name, id)| format!("{}: \"{id}\"", python_json(name))).collect();
    let children: Vec<ObjectId> = names.iter().map(|&(_, id)| id).collect();
    objects.add(kind, &children, format!("{{{}}}", entries.join(", ")).as_bytes())
}

/// A text as Python's `json.dumps` writes it: ASCII alone.
fn python_json(text: &str) -> String {
    let mut ascii = String::new();
    for unit in Value::from(text).to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ 0..0x7f) => ascii.push(char::from(byte)),
            Ok(0x7f) => ascii.push('\x7f'),
            _ => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    ascii
}

/// The names that an object gives to others, all of which are its children.
fn names(id: ObjectId, kind: Kind, objects: &Objects) -> Result<BTreeMap<String, ObjectId>, Error> {
    let object = objects.get(id, kind)?;
    let not = |found: String| Error::object("names in a record", "a JSON object of names of objects", found);
    let names: BTreeMap<String, String> =
        serde_json::from_slice(object.body).map_err(|error| not(error.to_string()))?;
    let names = names.into_iter().map(|(name, id)| Ok((name, id.parse()?)));
    let names = names.collect::<Result<BTreeMap<String, ObjectId>, Error>>()?;
    for (name, id) in &names {
        if !object.children.contains(id) {
            return Err(not(format!("{name:?}, which is {id} and not below it")));
        }
    }
    Ok(names)
}

impl From<Metric> for metric_record_value::Value {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::F64(value) => Self::Double(value),
            Metric::I64(value) => Self::Sint64(value),
            Metric::U64(value) => Self::Uint64(value),
            Metric::F64List(vals) => Self::DoubleList(DoubleList { vals }),
            Metric::I64List(vals) => Self::SintList(SintList { vals }),
            Metric::U64List(vals) => Self::UintList(UintList { vals }),
        }
    }
}

impl From<metric_record_value::Value> for Metric {
    fn from(value: metric_record_value::Value) -> Self {
        use metric_record_value::Value as V;
        match value {
            V::Double(value) => Self::F64(value),
            V::Sint64(value) => Self::I64(value),
            V::Uint64(value) => Self::U64(value),
            V::DoubleList(list) => Self::F64List(list.vals),
            V::SintList(list) => Self::I64List(list.vals),
            V::UintList(list) => Self::U64List(list.vals),
        }
    }
}

impl From<ConfigValue> for config_record_value::Value {
    fn from(value: ConfigValue) -> Self {
        match value {
            ConfigValue::F64(value) => Self::Double(value),
            ConfigValue::I64(value) => Self::Sint64(value),
            ConfigValue::U64(value) => Self::Uint64(value),
            ConfigValue::Bool(value) => Self::Bool(value),
            ConfigValue::Text(value) => Self::String(value),
            ConfigValue::Bytes(value) => Self::Bytes(value),
            ConfigValue::F64List(vals) => Self::DoubleList(DoubleList { vals }),
            ConfigValue::I64List(vals) => Self::SintList(SintList { vals }),
            ConfigValue::U64List(vals) => Self::UintList(UintList { vals }),
            ConfigValue::BoolList(vals) => Self::BoolList(BoolList { vals }),
            ConfigValue::TextList(vals) => Self::StringList(StringList { vals }),
            ConfigValue::BytesList(vals) => Self::BytesList(BytesList { vals }),
        }
    }
}

impl From<config_record_value::Value> for ConfigValue {
    fn from(value: config_record_value::Value) -> Self {
        use config_record_value::Value as V;
        match value {
            V::Double(value) => Self::F64(value),
            V::Sint64(value) => Self::I64(value),
            V::Uint64(value) => Self::U64(value),
            V::Bool(value) => Self::Bool(value),
            V::String(value) => Self::Text(value),
            V::Bytes(value) => Self::Bytes(value),
            V::DoubleList(list) => Self::F64List(list.vals),
            V::SintList(list) => Self::I64List(list.vals),
            V::UintList(list) => Self::U64List(list.vals),
            V::BoolList(list) => Self::BoolList(list.vals),
            V::StringList(list) => Self::TextList(list.vals),
            V::BytesList(list) => Self::BytesList(list.vals),
        }
    }
}
