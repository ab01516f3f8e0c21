//! What the variables of the environment say.

use std::path::PathBuf;

use super::{Settings, admin, backplane, log, parse_mode, parse_networks, parse_origins};
use crate::limits::Limits;

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
            self.trusted_proxies = parse_networks(&list(trusted))?;
        }
        if let Some(mode) = env("FANLINE_UNIX_MODE") {
            self.unix_mode = parse_mode(&mode).map_err(|what| format!("FANLINE_UNIX_MODE: {what}"))?;
        }
        if let Some(origins) = env("FANLINE_ORIGINS") {
            self.origins = parse_origins(list(origins))?;
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
            if let Some(text) = env(&format!("FANLINE_{}", limit.name.to_uppercase())) {
                limit.parse_into(&mut self.limits, &text).map_err(|error| format!("FANLINE_{error}"))?;
            }
        }
        Ok(())
    }
}
