//! How a room is spoken of on a Channels layer: which group it is, and what a message is as a dict.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmpv::{Value, ValueRef};

use super::super::Kind;
use super::dict;

/// What a room is to the Django applications on a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The group, where `{room}` stands for the room's name.
    pub group: String,
    /// The `type` of what is sent, which names the method of a consumer: `chat.message` is `chat_message`.
    pub kind: String,
    /// The field in which a message is sent; `message.text` is a field `text` in a field `message`.
    pub field: String,
    /// Whether a text that is a JSON object is sent as its fields.
    pub is_object: bool,
    /// The field that members are sent, written in the same way; without one it is all of them, as JSON.
    pub text: Option<String>,
    /// The channel to which messages are sent instead of the group.
    pub send_to: Option<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            group: Self::ROOM.to_owned(),
            kind: "chat.message".to_owned(),
            field: "message".to_owned(),
            is_object: false,
            text: None,
            send_to: None,
        }
    }
}

impl Dialect {
    /// What stands for the room's name in the name of its group.
    pub const ROOM: &'static str = "{room}";

    /// Whether Channels takes this as the name of a group, or of a channel: under a hundred ASCII letters, digits, hyphens,
    /// underscores and periods.
    pub fn is_name(name: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..100).contains(&name.len()) && name.bytes().all(is_plain)
    }

    /// The group of a room; `None` where its name does not do in the name of a group.
    pub fn group_of(&self, room: &str) -> Option<String> {
        Some(self.group.replace(Self::ROOM, room)).filter(|group| Self::is_name(group))
    }

    /// The fields of a message that is sent.
    pub(super) fn fields(&self, kind: Kind, payload: &[u8]) -> Vec<(Value, Value)> {
        let mut fields = vec![("type".into(), self.kind.as_str().into())];
        let text = std::str::from_utf8(payload).ok().filter(|_| kind != Kind::Binary);
        match text.filter(|_| self.is_object).and_then(dict::fields_of_json) {
            // Which method is called, and where it is sent, is not for a client to say.
            Some(object) => fields.extend(
                object
                    .into_iter()
                    .filter(|(name, _)| !matches!(name.as_str(), Some("type" | dict::CHANNELS))),
            ),
            None => {
                let value = text.map_or_else(|| Value::Binary(payload.to_vec()), Value::from);
                fields.push(dict::nested(&self.field, value));
            }
        }
        fields
    }

    /// What members are sent of a message that has come.
    pub(super) fn message(&self, fields: &[(ValueRef<'_>, ValueRef<'_>)]) -> (Kind, Vec<u8>) {
        let wanted = self.text.as_deref().and_then(|name| dict::at(fields, name));
        match wanted {
            Some(ValueRef::Binary(bytes)) => (Kind::Binary, bytes.to_vec()),
            Some(ValueRef::String(text)) => match text.as_str() {
                Some(text) => (Kind::Text, text.into()),
                None => (Kind::Binary, text.as_bytes().to_vec()),
            },
            Some(value) => (Kind::Text, json(|out| write_json(out, value))),
            None => {
                let seen: Vec<_> =
                    fields.iter().filter(|(name, _)| !dict::is_named(name, dict::CHANNELS)).collect();
                (Kind::Text, json(|out| write_object(out, seen.into_iter())))
            }
        }
    }
}

fn json(write: impl FnOnce(&mut String)) -> Vec<u8> {
    let mut out = String::new();
    write(&mut out);
    out.into_bytes()
}

/// Writes a value as JSON: bytes as base64, and numbers that JSON has not, as null.
fn write_json(out: &mut String, value: &ValueRef<'_>) {
    match value {
        ValueRef::Nil => out.push_str("null"),
        ValueRef::Boolean(is) => out.push_str(if *is { "true" } else { "false" }),
        ValueRef::Integer(number) => out.push_str(&number.to_string()),
        ValueRef::F32(number) => write_number(out, f64::from(*number)),
        ValueRef::F64(number) => write_number(out, *number),
        ValueRef::String(text) => write_text(out, &String::from_utf8_lossy(text.as_bytes())),
        ValueRef::Binary(bytes) | ValueRef::Ext(_, bytes) => write_text(out, &STANDARD.encode(bytes)),
        ValueRef::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_json(out, value);
            }
            out.push(']');
        }
        ValueRef::Map(fields) => write_object(out, fields.iter()),
    }
}

fn write_object<'v>(out: &mut String, fields: impl Iterator<Item = &'v (ValueRef<'v>, ValueRef<'v>)>) {
    out.push('{');
    for (at, (name, value)) in fields.enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        match name {
            ValueRef::String(_) => write_json(out, name),
            // A dict may have any keys, an object only texts.
            other => {
                let mut name = String::new();
                write_json(&mut name, other);
                write_text(out, name.trim_matches('"'));
            }
        }
        out.push(':');
        write_json(out, value);
    }
    out.push('}');
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn write_number(out: &mut String, number: f64) {
    out.push_str(&serde_json::Value::from(number).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: &Dialect, kind: Kind, payload: &[u8]) -> String {
        let bytes = dict::write(&dialect.fields(kind, payload), &[]);
        let fields = dict::read(&bytes).unwrap();
        String::from_utf8(Dialect::default().message(&fields).1).unwrap()
    }

    #[test]
    fn which_rooms_are_groups() {
        let chat = Dialect { group: "chat_{room}".into(), ..Dialect::default() };
        let rows = [
            ("lobby", Some("chat_lobby")),
            ("a-b_c.D9", Some("chat_a-b_c.D9")),
            ("房间", None),
            ("a b", None),
            ("a!b", None),
            ("a/b", None),
        ];
        for (room, group) in rows {
            assert_eq!(chat.group_of(room).as_deref(), group, "{room}");
        }
        assert!(chat.group_of(&"x".repeat(94)).is_some(), "99 in all");
        assert_eq!(chat.group_of(&"x".repeat(95)), None, "100 in all");
    }

    #[test]
    fn what_a_message_is_as_a_dict() {
        let plain = Dialect::default();
        assert_eq!(
            written(&plain, Kind::Text, "hi 房".as_bytes()),
            r#"{"type":"chat.message","message":"hi 房"}"#
        );
        assert_eq!(written(&plain, Kind::Binary, &[0, 255]), r#"{"type":"chat.message","message":"AP8="}"#);
        let object = Dialect { is_object: true, kind: "a.b".into(), field: "text".into(), ..plain };
        let said =
            br#"{"type":"evil","message":"hi","__asgi_channel__":"x","n":[1,-2,0.5,null,true,{"k":"v"}]}"#;
        let want = r#"{"type":"a.b","message":"hi","n":[1,-2,0.5,null,true,{"k":"v"}]}"#;
        assert_eq!(written(&object, Kind::Text, said), want);
        assert_eq!(written(&object, Kind::Text, b"[1]"), r#"{"type":"a.b","text":"[1]"}"#);
        let nested = Dialect { field: "message.text".into(), is_object: false, ..object };
        assert_eq!(written(&nested, Kind::Text, b"hi"), r#"{"type":"a.b","message":{"text":"hi"}}"#);
    }

    #[test]
    fn what_members_are_sent_of_a_dict() {
        let fields = vec![
            ("type".into(), "chat.message".into()),
            ("text".into(), "hi".into()),
            ("bytes".into(), Value::Binary(vec![1, 2])),
            ("number".into(), 7.into()),
            ("in".into(), Value::Map(vec![("text".into(), "deep".into())])),
            (9.into(), f64::NAN.into()),
            (dict::CHANNELS.into(), Value::Array(vec!["a!b".into()])),
        ];
        let bytes = dict::write(&fields, &[]);
        let fields = dict::read(&bytes).unwrap();
        let sent = |text: Option<&str>| {
            let dialect = Dialect { text: text.map(str::to_owned), ..Dialect::default() };
            dialect.message(&fields)
        };
        let whole =
            br#"{"type":"chat.message","text":"hi","bytes":"AQI=","number":7,"in":{"text":"deep"},"9":null}"#;
        assert_eq!(sent(Some("text")), (Kind::Text, b"hi".to_vec()));
        assert_eq!(sent(Some("bytes")), (Kind::Binary, vec![1, 2]));
        assert_eq!(sent(Some("number")), (Kind::Text, b"7".to_vec()));
        assert_eq!(sent(Some("in.text")), (Kind::Text, b"deep".to_vec()));
        assert_eq!(sent(Some("in.other")), (Kind::Text, whole.to_vec()));
        assert_eq!(sent(Some("missing")), (Kind::Text, whole.to_vec()));
        assert_eq!(sent(None), (Kind::Text, whole.to_vec()));
    }
}
