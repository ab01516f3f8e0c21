//! Where the backplane is, and who is there: the `[backplane]` table of a configuration file, variables and flags.

use super::file::Table;
use crate::backplane::url::Url;
use crate::backplane::{Protocol, Target};

/// What `layer` may be.
const LAYERS: [(&str, Protocol); 1] = [("channels", Protocol::Channels)];

/// Reads the table.
pub(super) fn read(mut table: Table<'_, '_>) -> Option<Target> {
    let (url, prefix, at) = (table.text("url"), table.text("prefix"), table.at());
    let parsed = match &url {
        Some(url) => Url::parse(&url.value).map_err(|why| table.wrong(url.at, "url", why.to_string())).ok(),
        None => {
            if !table.has_had("url") {
                table.wrong(at, "url", "is missing");
            }
            None
        }
    };
    let prefix = prefix.map(|prefix| {
        if prefix.value.is_empty() {
            table.wrong(prefix.at, "prefix", EMPTY);
        }
        prefix.value
    });
    let protocol = table.choice("layer", &LAYERS).map_or(Protocol::Nodes, |layer| layer.value);
    table.finish();
    Some(Target { url: parsed?, prefix: prefix.unwrap_or_else(|| protocol.prefix().to_owned()), protocol })
}

const EMPTY: &str = "is empty, which would mix the keys with those of others";

/// What says where the backplane is, besides a file.
pub(super) struct Names {
    url: &'static str,
    prefix: &'static str,
    layer: &'static str,
}

pub(super) const VARIABLES: Names = Names {
    url: "FANLINE_BACKPLANE_URL",
    prefix: "FANLINE_BACKPLANE_PREFIX",
    layer: "FANLINE_BACKPLANE_LAYER",
};

pub(super) const FLAGS: Names =
    Names { url: "--backplane-url", prefix: "--backplane-prefix", layer: "--backplane-layer" };

/// Takes over what flags or variables say, whichever these names are.
///
/// # Errors
/// A sentence that never has the password in it.
pub(super) fn apply(
    target: &mut Option<Target>,
    said: impl Fn(&str) -> Option<String>,
    names: &Names,
) -> Result<(), String> {
    if let Some(url) = said(names.url) {
        let url = Url::parse(&url).map_err(|why| format!("{}: {why}", names.url))?;
        let protocol = target.as_ref().map_or(Protocol::Nodes, |target| target.protocol);
        let prefix = target.take().map_or_else(|| protocol.prefix().to_owned(), |target| target.prefix);
        *target = Some(Target { url, prefix, protocol });
    }
    let missing = |name: &str| format!("{name}: there is no backplane");
    if let Some(layer) = said(names.layer) {
        let target = target.as_mut().ok_or_else(|| missing(names.layer))?;
        let known = LAYERS.iter().find(|(name, _)| *name == layer);
        let (_, protocol) = known.ok_or_else(|| format!("{}: `{layer}` is not \"channels\"", names.layer))?;
        if target.prefix == target.protocol.prefix() {
            target.prefix = protocol.prefix().to_owned();
        }
        target.protocol = *protocol;
    }
    match (said(names.prefix), &mut *target) {
        (Some(prefix), _) if prefix.is_empty() => return Err(format!("{} {EMPTY}", names.prefix)),
        (Some(prefix), Some(target)) => target.prefix = prefix,
        (Some(_), None) => return Err(missing(names.prefix)),
        (None, _) => {}
    }
    match target.as_ref().and_then(Target::contradiction) {
        Some(why) => Err(format!("the backplane: {why}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Around, Settings};
    use super::*;
    use crate::backplane::channels::Dialect;

    fn mistakes(text: &str) -> Vec<String> {
        let settings = Settings::from_toml(text, Around { env: &|_| None, folder: Path::new("") });
        settings.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn row_50_a_file_names_the_backplane_and_nobody_is_shown_its_password() {
        let text = "[backplane]\nurl = 'redis://mary:secret@host/2'\nprefix = 'chat:'";
        let settings = Settings::from_toml(text, Around { env: &|_| None, folder: Path::new("") }).unwrap();
        let summary = settings.summary();
        assert!(
            summary.contains("backplane = redis://mary@host:6379/2, keys begin with chat: (none)"),
            "{summary}"
        );
        assert!(!summary.contains("secret") && !format!("{settings:?}").contains("secret"));
        let wrong = mistakes("[backplane]\nurl = 'redis://mary:secret@host/x'\nprefix = ''\nport = 1");
        let starts =
            ["2: backplane.url: the database", "3: backplane.prefix: is empty", "4: backplane.port:"];
        for (wrong, start) in wrong.iter().zip(starts) {
            assert!(wrong.starts_with(start) && !wrong.contains("secret"), "{wrong}");
        }
        assert_eq!(wrong.len(), 3);
        assert!(mistakes("[backplane]\nprefix = 'a'")[0].contains("url: is missing"));
    }

    #[test]
    fn a_layer_is_joined_by_all_rooms_each_in_its_way() {
        let text = "[backplane]\nurl = 'redis://host'\nlayer = 'channels'\n\
                    [[route]]\npath = '/ws/{room}'\nmode = 'room'\n\
                    channels = { group = 'chat_{room}', text = 'message.text', send_to = 'worker', json = true }\n\
                    [[route]]\npath = '/lobby'\nmode = 'room'\n[[route]]\npath = '/echo'\nmode = 'echo'";
        let around = || Around { env: &|_| None, folder: Path::new("") };
        let settings = Settings::from_toml(text, around()).unwrap();
        let dialects: Vec<_> = settings.routes.iter().map(|route| route.channels.as_deref()).collect();
        let plain = Dialect::default();
        let chat = Dialect {
            group: "chat_{room}".into(),
            text: Some("message.text".into()),
            send_to: Some("worker".into()),
            is_object: true,
            ..plain.clone()
        };
        assert_eq!(dialects, [Some(&chat), Some(&plain), None]);
        let summary = settings.summary();
        for said in [
            "backplane = redis://host:6379/0 as a Channels layer, keys begin with asgi (none)",
            "the group `chat_{room}` with `chat.message`, sends to the worker `worker`",
        ] {
            assert!(summary.contains(said), "{summary}");
        }
        let defaults = Settings::from_toml("[backplane]\nurl = 'redis://host'\nlayer = 'channels'", around());
        assert!(defaults.unwrap().routes.iter().any(|route| route.channels.as_deref() == Some(&plain)));
    }

    #[test]
    fn what_no_layer_takes_is_found_before_anything_starts() {
        let layer = "[backplane]\nurl = 'redis://host'\nlayer = 'channels'\n[[route]]\n";
        let room = "path = '/ws/{room}'\nmode = 'room'\n";
        let rows = [
            (
                room,
                "group = 'chat {room}'",
                "7: route.channels.group: `chat {room}` does not do: Channels takes",
            ),
            (room, "group = 'chat'", "7: route.channels.group: has no {room}"),
            (room, "type = '_secret'", "7: route.channels.type: `_secret` begins as no method"),
            (room, "field = 'type'", "7: route.channels.field: `type` is the layer's own"),
            (room, "send_to = 'a!b'", "7: route.channels.send_to: `a!b` is no worker's channel"),
            (room, "texts = 'a'", "7: route.channels.texts: there is no such key; did you mean `text`?"),
            ("path = '/a/b'\nmode = 'room'\n", "", "4: route.room: `a/b` does not do in a group's name"),
            ("path = '/b'\nmode = 'echo'\n", "", "7: route.channels: means nothing on a route of mode"),
        ];
        for (route, channels, want) in rows {
            let wrong = mistakes(&format!("{layer}{route}channels = {{ {channels} }}"));
            assert!(wrong.len() == 1 && wrong[0].starts_with(want), "{wrong:?}");
        }
        let nodes = mistakes(&format!("[[route]]\n{room}channels = {{ text = 'a' }}"));
        assert!(
            nodes[0].starts_with("4: route.channels: means nothing without backplane.layer"),
            "{nodes:?}"
        );
        let other = mistakes("[backplane]\nurl = 'redis://host'\nlayer = 'chanels'");
        assert!(other[0].starts_with("3: backplane.layer: `chanels` is none of \"channels\""), "{other:?}");
    }

    #[test]
    fn a_flag_changes_the_url_and_keeps_the_prefix() {
        let mut target = None;
        let apply = |target: &mut Option<Target>, said: &[(&str, &str)]| {
            let find = |name: &str| {
                said.iter().find(|(flag, _)| name.ends_with(flag)).map(|(_, value)| (*value).to_owned())
            };
            apply(target, find, &FLAGS)
        };
        assert!(apply(&mut target, &[("prefix", "a:")]).is_err(), "of what?");
        apply(&mut target, &[("url", "redis://one"), ("prefix", "a:")]).unwrap();
        apply(&mut target, &[("url", "redis://two")]).unwrap();
        let shown = target.as_ref().map(|target| (target.url.to_string(), &*target.prefix));
        assert_eq!(shown, Some(("redis://two:6379/0".to_owned(), "a:")));
        assert!(apply(&mut None, &[("layer", "channels")]).is_err(), "of what?");
        let why = apply(&mut target, &[("layer", "chanels")]).unwrap_err();
        assert_eq!(why, "--backplane-layer: `chanels` is not \"channels\"");
        apply(&mut target, &[("layer", "channels")]).unwrap();
        let shown = target.as_ref().map(|target| (target.protocol, &*target.prefix));
        assert_eq!(shown, Some((Protocol::Channels, "a:")), "a prefix that is said stays");
        let mut target = None;
        apply(&mut target, &[("layer", "channels"), ("url", "redis://one")]).unwrap();
        assert_eq!(target.map(|target| target.prefix).as_deref(), Some("asgi"));
        let cluster = ("url", "redis+cluster://one");
        let why = apply(&mut None, &[cluster, ("prefix", "{chat}:")]).unwrap_err();
        assert!(why.starts_with("the backplane: its prefix `{chat}:` has a brace"), "{why}");
        let why = apply(&mut None, &[cluster, ("layer", "channels")]).unwrap_err();
        assert!(why.starts_with("the backplane: a Channels layer is in one Redis"), "{why}");
        let why = apply(&mut None, &[("url", "http://u:secret@x")]).unwrap_err();
        assert!(why.starts_with("--backplane-url: ") && !why.contains("secret"), "{why}");
    }
}
