//! What the variables of the environment say.

use std::path::PathBuf;

use super::file::did_you_mean;
use super::{Settings, admin, backplane, log, parse_mode, parse_networks, parse_origins};
use crate::limits::Limits;

/// What all variables begin with.
const PREFIX: &str = "FANLINE_";

/// The rest of the names of those that are no limit's.
const NAMES: &[&str] = &[
    "ADMIN",
    "ADMIN_LISTEN",
    "ADMIN_TOKEN",
    "ADMIN_TOKEN_FILE",
    "BACKPLANE_LAYER",
    "BACKPLANE_PREFIX",
    "BACKPLANE_URL",
    "CONFIG",
    "DEFLATE",
    "LEDGER",
    "LISTEN",
    "LOG",
    "LOG_LEVEL",
    "METRICS",
    "ORIGINS",
    "PROXY_LISTEN",
    "RECORD",
    "RECORD_BODIES",
    "REUSE_PORT",
    "STATIC",
    "TAKEOVER",
    "TLS_CERT",
    "TLS_KEY",
    "TLS_LISTEN",
    "TLS_PROXY_LISTEN",
    "TRUSTED_PROXIES",
    "UNIX_MODE",
];

/// The variables that mean nothing, but whose names are nearly those of others; others still may be somebody else's.
pub fn misspelt(names: impl Iterator<Item = String>) -> Vec<String> {
    let limits: Vec<String> = Limits::TABLE.iter().map(|limit| limit.name.to_uppercase()).collect();
    let known: Vec<&str> = NAMES.iter().copied().chain(limits.iter().map(String::as_str)).collect();
    let hint = |name: String| {
        let rest = name.strip_prefix(PREFIX).filter(|rest| !known.contains(rest))?;
        let near = did_you_mean(rest, &known).replace('`', "");
        let near = near.rsplit_once(' ').map(|(_, near)| near.trim_end_matches('?'))?;
        Some(format!("{name} means nothing; did you mean {PREFIX}{near}?"))
    };
    names.filter_map(hint).collect()
}

impl Settings {
    pub(super) fn apply_env(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let list = |text: String| text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
        if let Some(listen) = env("FANLINE_LISTEN") {
            self.listen = list(listen);
        }
        if let Some(listen) = env("FANLINE_PROXY_LISTEN") {
            self.proxy_listen = list(listen);
        }
        if let Some(listen) = env("FANLINE_TLS_PROXY_LISTEN") {
            self.tls.proxy_listen = list(listen);
        }
        admin::apply_env(&mut self.admin, &env)?;
        log::apply_env(&mut self.log, &env)?;
        backplane::apply(&mut self.backplane, &env, &backplane::VARIABLES)?;
        if let Some(trusted) = env("FANLINE_TRUSTED_PROXIES") {
            self.trusted_proxies = parse_networks("FANLINE_TRUSTED_PROXIES", &list(trusted))?;
        }
        if let Some(mode) = env("FANLINE_UNIX_MODE") {
            self.unix_mode = parse_mode(&mode).map_err(|what| format!("FANLINE_UNIX_MODE: {what}"))?;
        }
        if let Some(origins) = env("FANLINE_ORIGINS") {
            self.origins = parse_origins("FANLINE_ORIGINS", list(origins))?;
        }
        for (name, flag) in [
            ("FANLINE_DEFLATE", &mut self.deflate),
            ("FANLINE_REUSE_PORT", &mut self.reuse_port),
            ("FANLINE_LEDGER", &mut self.ledger),
            ("FANLINE_METRICS", &mut self.metrics),
            ("FANLINE_RECORD_BODIES", &mut self.recording.bodies),
        ] {
            if let Some(text) = env(name) {
                let invalid = |_| format!("{name}: `{text}` is neither true nor false");
                *flag = text.parse().map_err(invalid)?;
            }
        }
        self.recording.file = env("FANLINE_RECORD").map(PathBuf::from);
        self.takeover = env("FANLINE_TAKEOVER").map(PathBuf::from).or(self.takeover.take());
        if let Some(listen) = env("FANLINE_TLS_LISTEN") {
            self.tls.listen = list(listen);
        }
        self.tls.cert = env("FANLINE_TLS_CERT").map(PathBuf::from).or(self.tls.cert.take());
        self.tls.key = env("FANLINE_TLS_KEY").map(PathBuf::from).or(self.tls.key.take());
        if let Some(folder) = env("FANLINE_STATIC") {
            self.static_folder = Some(folder.into());
        }
        for limit in Limits::TABLE {
            let variable = format!("FANLINE_{}", limit.name.to_uppercase());
            if let Some(text) = env(&variable) {
                let parsed = limit.parse_into(&mut self.limits, &text);
                parsed.map_err(|wrong| format!("{variable}: {}", wrong.what()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_variable_with_nearly_the_name_of_another_is_told_of() {
        let told = |name: &str| misspelt([name.to_owned()].into_iter()).join("");
        assert_eq!(
            told("FANLINE_MESAGE_BYTES_MAX"),
            "FANLINE_MESAGE_BYTES_MAX means nothing; did you mean FANLINE_MESSAGE_BYTES_MAX?"
        );
        assert!(told("FANLINE_ORIGIN").ends_with("did you mean FANLINE_ORIGINS?"));
        for name in ["FANLINE_LISTEN", "FANLINE_WALK_SLICE", "FANLINE_PORT_8080_TCP", "PATH", "FANLINE_"] {
            assert_eq!(told(name), "", "{name}");
        }
    }

    #[test]
    fn every_variable_that_is_asked_for_is_known() {
        let asked = RefCell::new(Vec::new());
        let env = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            None
        };
        Settings::read([std::ffi::OsString::from("fanline")], env).unwrap();
        let asked = asked.into_inner();
        assert!(asked.len() > Limits::TABLE.len() + 20);
        for name in &asked {
            let rest = name.strip_prefix(PREFIX).unwrap();
            let is_limit = Limits::TABLE.iter().any(|limit| limit.name.to_uppercase() == rest);
            assert!(is_limit || NAMES.contains(&rest), "{name}");
        }
        // One is for those who ask a server that runs.
        let unasked: Vec<_> =
            NAMES.iter().filter(|name| !asked.contains(&format!("{PREFIX}{name}"))).collect();
        assert_eq!(unasked, [&"ADMIN"]);
    }
}
