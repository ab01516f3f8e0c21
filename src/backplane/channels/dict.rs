//! The dicts of a Channels layer as bytes: MessagePack maps.

use rmpv::decode::read_value_ref_with_max_depth;
use rmpv::encode::write_value;
use rmpv::{Value, ValueRef};

/// The field that says for which channels a message is, one or a list of them.
pub(super) const CHANNELS: &str = "__asgi_channel__";

/// Values in values in values: twice for each, and deeper than the JSON that is taken from clients, of which 127 may be.
/// It bounds nothing that an operator would set.
const DEPTH_MAX: usize = 300;

/// Writes a dict of these and those fields.
pub(super) fn write(fields: &[(Value, Value)], more: &[(Value, Value)]) -> Vec<u8> {
    let mut out = open(fields.len() + more.len());
    put(&mut out, fields);
    put(&mut out, more);
    out
}

/// Writes a dict that lacks its last field.
pub(super) fn write_open(fields: &[(Value, Value)]) -> Vec<u8> {
    let mut out = open(fields.len() + 1);
    put(&mut out, fields);
    out
}

fn open(len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to memory does not fail, and a dict of more fields would not fit there.
    rmp::encode::write_map_len(&mut out, len as u32).map(drop).unwrap_or_default();
    out
}

fn put(out: &mut Vec<u8>, fields: &[(Value, Value)]) {
    for value in fields.iter().flat_map(|(name, value)| [name, value]) {
        write_value(out, value).unwrap_or_default();
    }
}

/// Reads a dict; `None` where the bytes are none, or not one alone.
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<(ValueRef<'_>, ValueRef<'_>)>> {
    match read_value_ref_with_max_depth(&mut bytes, DEPTH_MAX) {
        Ok(ValueRef::Map(fields)) if bytes.is_empty() => Some(fields),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a field has this name.
pub(super) fn is_named(name: &ValueRef<'_>, wanted: &str) -> bool {
    matches!(name, ValueRef::String(text) if text.as_bytes() == wanted.as_bytes())
}

/// The value of a field.
pub(super) fn field<'v, 'b>(
    fields: &'v [(ValueRef<'b>, ValueRef<'b>)],
    wanted: &str,
) -> Option<&'v ValueRef<'b>> {
    // Where it stands there twice, Python takes the last.
    fields.iter().rev().find(|(name, _)| is_named(name, wanted)).map(|(_, value)| value)
}

/// The value of a field, or of a field in a field, where periods part their names.
pub(super) fn at<'v, 'b>(fields: &'v [(ValueRef<'b>, ValueRef<'b>)], path: &str) -> Option<&'v ValueRef<'b>> {
    match path.split_once('.') {
        Some((name, rest)) => match field(fields, name)? {
            ValueRef::Map(inner) => at(inner, rest),
            _ => None,
        },
        None => field(fields, path),
    }
}

/// A value as a field, or as a field in a field, where periods part their names.
pub(super) fn nested(path: &str, value: Value) -> (Value, Value) {
    match path.split_once('.') {
        Some((name, rest)) => (name.into(), Value::Map(vec![nested(rest, value)])),
        None => (path.into(), value),
    }
}

/// The channels that a dict is for.
pub(super) fn channels<'v>(fields: &'v [(ValueRef<'_>, ValueRef<'_>)]) -> Vec<&'v str> {
    let text = |value: &'v ValueRef<'_>| match value {
        ValueRef::String(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    };
    match field(fields, CHANNELS) {
        Some(ValueRef::Array(list)) => list.iter().filter_map(text).collect(),
        one => one.and_then(text).into_iter().collect(),
    }
}

/// The fields of a text that is a JSON object.
pub(super) fn fields_of_json(text: &str) -> Option<Vec<(Value, Value)>> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Some(fields_of(object)),
        Ok(_) | Err(_) => None,
    }
}

fn fields_of(object: serde_json::Map<String, serde_json::Value>) -> Vec<(Value, Value)> {
    object.into_iter().map(|(name, value)| (name.into(), value_of(value))).collect()
}

fn value_of(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(is) => is.into(),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().map_or(Value::Nil, Value::from),
        },
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(values) => Value::Array(values.into_iter().map(value_of).collect()),
        serde_json::Value::Object(object) => Value::Map(fields_of(object)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_dict_is_none_however_deep_or_long_it_says_it_is() {
        let deep = [&[0x81, 0xa1, b'a'][..], &[0x91; 100_000], &[0xc0]].concat();
        let rows: [&[u8]; 7] = [
            b"",
            &[0xc0],
            &[0x80, 0x80],
            &[0x81, 0xa1],
            &[0xdf, 255, 255, 255, 255],
            &[0xdd, 255, 255, 255, 255],
            &deep,
        ];
        for bytes in rows {
            assert!(read(bytes).is_none(), "{:?}", &bytes[..bytes.len().min(9)]);
        }
        assert_eq!(read(&[0x80]), Some(Vec::new()));
    }

    #[test]
    fn a_dict_is_for_one_channel_or_for_a_list_of_them() {
        let of = |value: Value| {
            let bytes = write(&[("a".into(), 1.into())], &[(CHANNELS.into(), value)]);
            channels(&read(&bytes).unwrap()).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of("a!b".into()), ["a!b"]);
        assert_eq!(of(Value::Array(vec!["a!b".into(), 7.into(), "a!c".into()])), ["a!b", "a!c"]);
        assert_eq!(of(Value::Nil), [""; 0]);
    }

    #[test]
    fn numbers_of_json_are_the_same_numbers() {
        for text in ["31.245270191439438", "100.78399658203125", "9007199254740993", "-0.0", "5e-324"] {
            let fields = fields_of_json(&format!("{{\"n\":{text}}}")).unwrap();
            match &fields[0].1 {
                Value::F64(number) => {
                    assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}")
                }
                other => assert_eq!(other.to_string(), text),
            }
        }
    }

    #[test]
    fn a_dict_is_left_open_for_one_more_field() {
        let mut open = write_open(&[("a".into(), 1.into())]);
        open.extend_from_slice(&[0xa1, b'b', 2]);
        assert_eq!(open, write(&[("a".into(), 1.into())], &[("b".into(), 2.into())]));
    }
}
