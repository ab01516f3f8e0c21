//! What the binary is told: flags, environment variables and a configuration file, in this order of precedence.

mod admin;
mod auth;
mod backplane;
mod env;
mod file;
mod flags;
mod listen;
mod log;
mod pages;
mod recording;
mod routes;
mod summary;
mod task;
mod tls;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

pub use admin::Admin;
pub use auth::Around;
pub use env::misspelt;
pub use file::Mistake;
pub use flags::command;
pub use log::{Format, Log};
pub use pages::Page;
pub use recording::{Recording, Replay};
pub use task::Task;
pub use tls::Tls;

use auth::AuthEntry;
use file::{Item, Source, Table};
use listen::{parse_mode, parse_networks, read_listen, read_networks};

use crate::app::{Files, Mode, Route};
use crate::auth::Gate;
use crate::backplane::{Protocol, Target};
use crate::http::origin::OriginPolicy;
use crate::limits::{Limit, Limits};
use crate::{Builder, Networks};

/// Everything the binary can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// How it logs.
    pub log: Log,
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// Addresses that only proxies reach, which send PROXY headers.
    pub proxy_listen: Vec<String>,
    /// The permissions of the files of Unix sockets.
    pub unix_mode: u32,
    /// Proxies whose word counts.
    pub trusted_proxies: Networks,
    /// Addresses to listen on for `wss`, and the certificate for them.
    pub tls: Tls,
    /// Whether other processes may listen on the same ports.
    pub reuse_port: bool,
    /// The Unix socket over which a process takes the place of the one before it.
    pub takeover: Option<PathBuf>,
    /// Whether there is to be a recording.
    pub recording: Recording,
    /// Every bound.
    pub limits: Limits,
    /// Whose pages may connect.
    pub origins: OriginPolicy,
    /// Whether permessage-deflate is agreed to.
    pub deflate: bool,
    /// Whether the times of deliveries are taken.
    pub ledger: bool,
    /// Whether everybody is shown what is measured, at `/metrics`.
    pub metrics: bool,
    /// What the rooms are shared through.
    pub backplane: Option<Target>,
    /// The folder whose files are served.
    pub static_folder: Option<PathBuf>,
    /// What is where.
    pub routes: Vec<Route>,
    /// Who may do what.
    pub gate: Gate,
    /// Who may look inside.
    pub admin: Admin,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            file: None,
            log: Log::default(),
            listen: vec!["127.0.0.1:8080".into()],
            proxy_listen: Vec::new(),
            unix_mode: Builder::UNIX_MODE,
            trusted_proxies: Networks::default(),
            tls: Tls::default(),
            reuse_port: false,
            takeover: None,
            recording: Recording::default(),
            limits: Limits::default(),
            origins: OriginPolicy::Same,
            deflate: false,
            ledger: true,
            metrics: false,
            backplane: None,
            static_folder: None,
            routes: Route::defaults(),
            gate: Gate::default(),
            admin: Admin::default(),
        }
    }
}

/// Why the binary does not start, in words for the one who started it.
#[derive(Debug)]
pub enum SettingsError {
    /// The flags are not understood, or ask for help; clap knows what to print.
    Flags(clap::Error),
    /// Something else is not understood.
    Invalid(String),
    /// The configuration file is not understood; one line for each mistake, as `FILE:LINE: key: what is wrong`.
    File(String),
}

impl Settings {
    /// Reads flags, then the variables of `env`, then the file that either names.
    ///
    /// # Errors
    /// [`SettingsError`] with the flag, variable or key at fault.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Self::of(&command().try_get_matches_from(args).map_err(SettingsError::Flags)?, env)
    }

    fn of(flags: &ArgMatches, env: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let named = flags.get_one::<PathBuf>("config").cloned();
        let mut settings = match named.or_else(|| env("FANLINE_CONFIG").map(PathBuf::from)) {
            Some(path) => Self::from_file(&path, &env)?,
            None => Self::default(),
        };
        settings.apply_env(env).map_err(SettingsError::Invalid)?;
        settings.apply_flags(flags).map_err(SettingsError::Invalid)?;
        settings.join_layer();
        let mut wrong = settings.limits.contradictions();
        wrong.extend(settings.tls.contradiction().map(str::to_owned));
        wrong.extend(settings.unrecordable().map(str::to_owned));
        match wrong.as_slice() {
            [] => Ok(settings),
            some => Err(SettingsError::Invalid(some.join("\n"))),
        }
    }

    /// Reads a configuration file; it has to be good by itself, whatever the flags say. The secrets it names are read
    /// from their files, or from `env`.
    ///
    /// # Errors
    /// [`SettingsError::File`] with every mistake in it.
    pub fn from_file(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError::File(format!("{shown}: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let settings = Self::from_toml(&text, Around { env, folder }).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(|mistake| format!("{shown}:{mistake}")).collect();
            SettingsError::File(lines.join("\n"))
        })?;
        Ok(Self { file: Some(path.to_owned()), ..settings })
    }

    /// Takes over what the text of a configuration file says.
    ///
    /// # Errors
    /// Every mistake in it, in the order of the lines.
    pub fn from_toml(text: &str, around: Around<'_>) -> Result<Self, Vec<Mistake>> {
        let source = Source::new(text);
        let mut settings = Self::default();
        settings.apply_table(source.parse(), &source, around);
        match source.into_mistakes() {
            mistakes if mistakes.is_empty() => Ok(settings),
            mistakes => Err(mistakes),
        }
    }

    fn apply_table(&mut self, mut table: Table<'_, '_>, source: &Source<'_>, around: Around<'_>) {
        let listen_at = table.find("listen").unwrap_or_default();
        if let Some(listen) = read_listen(&mut table, "listen") {
            self.listen = listen;
        }
        self.log = log::read(&mut table);
        self.proxy_listen = read_listen(&mut table, "proxy_listen").unwrap_or_default();
        if let Some(mode) = table.text("unix_mode") {
            match parse_mode(&mode.value) {
                Ok(bits) => self.unix_mode = bits,
                Err(what) => table.wrong(mode.at, "unix_mode", what),
            }
        }
        if let Some(tls) = table.table("tls") {
            self.tls = tls::read(tls, around.folder);
        }
        if self.listen.is_empty() && self.proxy_listen.is_empty() && self.tls.listens().next().is_none() {
            table.wrong(listen_at, "listen", "names no address, and tls.listen neither");
        }
        self.reuse_port = table.flag("reuse_port").is_some_and(|reuse_port| reuse_port.value);
        self.takeover = table.text("takeover").map(|named| around.folder.join(named.value));
        self.apply_engine(&mut table, source);
        self.static_folder = table.text("static").map(|named| {
            let path = around.folder.join(&named.value);
            if let Err(error) = Files::open(&path) {
                table.wrong(named.at, "static", format!("`{}` cannot be opened: {error}", path.display()));
            }
            path
        });
        if let Some(backplane) = table.table("backplane") {
            self.backplane = backplane::read(backplane);
        }
        if let Some(admin) = table.table("admin") {
            self.admin = admin::read(admin, around);
        }
        let limits = self.limits.clone();
        self.apply_routes(&mut table, source, &limits);
        self.join_layer();
        if let Some((entry, marks)) = table.derived::<AuthEntry>("auth") {
            match entry.into_gate(around) {
                Ok(gate) => self.gate = gate,
                Err(wrong) => wrong.iter().for_each(|wrong| marks.wrong(source, wrong)),
            }
        }
        table.finish();
    }

    /// What the engine is told besides its routes.
    fn apply_engine(&mut self, table: &mut Table<'_, '_>, source: &Source<'_>) {
        self.trusted_proxies = read_networks(table);
        let origins = table.texts("origins").unwrap_or_default();
        for origin in origins.iter().filter(|origin| !is_origin(&origin.value)) {
            table.wrong(origin.at, "origins", not_an_origin(&origin.value));
        }
        self.origins = policy(origins.into_iter().map(|origin| origin.value).collect());
        self.deflate = table.flag("deflate").is_some_and(|deflate| deflate.value);
        self.ledger = table.flag("ledger").is_none_or(|ledger| ledger.value);
        self.metrics = table.flag("metrics").is_some_and(|metrics| metrics.value);
        if let Some(limits) = table.table("limits") {
            self.limits = read_limits(source, limits);
        }
    }

    fn apply_routes(&mut self, table: &mut Table<'_, '_>, source: &Source<'_>, limits: &Limits) {
        let routes = table.tables("route");
        if !routes.is_empty() {
            self.routes = routes::read(source, routes, limits, self.protocol());
        }
    }

    fn protocol(&self) -> Protocol {
        self.backplane.as_ref().map_or(Protocol::Nodes, |target| target.protocol)
    }

    /// On a Channels layer every room is spoken of in some way.
    fn join_layer(&mut self) {
        if self.protocol() == Protocol::Channels {
            for route in self.routes.iter_mut().filter(|route| route.mode == Mode::Room) {
                route.channels.get_or_insert_default();
            }
        }
    }

    fn apply_flags(&mut self, flags: &ArgMatches) -> Result<(), String> {
        if let Some(listen) = flags.get_many::<String>("listen") {
            self.listen = listen.cloned().collect();
        }
        admin::apply_flags(&mut self.admin, flags)?;
        log::apply_flags(&mut self.log, flags)?;
        let flag = |name: &str| flags.get_one::<String>(name.trim_start_matches("--")).cloned();
        backplane::apply(&mut self.backplane, flag, &backplane::FLAGS)?;
        if let Some(listen) = flags.get_many::<String>("proxy-listen") {
            self.proxy_listen = listen.cloned().collect();
        }
        if let Some(listen) = flags.get_many::<String>("tls-proxy-listen") {
            self.tls.proxy_listen = listen.cloned().collect();
        }
        if let Some(trusted) = flags.get_many::<String>("trusted-proxy") {
            self.trusted_proxies = parse_networks("--trusted-proxy", &trusted.cloned().collect::<Vec<_>>())?;
        }
        if let Some(mode) = flags.get_one::<String>("unix-mode") {
            self.unix_mode = parse_mode(mode).map_err(|what| format!("--unix-mode: {what}"))?;
        }
        if let Some(origins) = flags.get_many::<String>("origin") {
            self.origins = parse_origins("--origin", origins.cloned().collect())?;
        }
        if let Some(listen) = flags.get_many::<String>("tls-listen") {
            self.tls.listen = listen.cloned().collect();
        }
        self.tls.cert = flags.get_one::<PathBuf>("tls-cert").cloned().or(self.tls.cert.take());
        self.tls.key = flags.get_one::<PathBuf>("tls-key").cloned().or(self.tls.key.take());
        self.deflate |= flags.get_flag("deflate");
        self.reuse_port |= flags.get_flag("reuse-port");
        self.ledger &= !flags.get_flag("no-ledger");
        self.metrics |= flags.get_flag("metrics");
        self.recording.file = flags.get_one::<PathBuf>("record").cloned().or(self.recording.file.take());
        self.recording.bodies |= flags.get_flag("record-bodies");
        self.takeover = flags.get_one::<PathBuf>("takeover").cloned().or(self.takeover.take());
        if let Some(folder) = flags.get_one::<PathBuf>("static") {
            self.static_folder = Some(folder.clone());
        }
        for limit in Limits::TABLE {
            if let Some(text) = flags.get_one::<String>(limit.name) {
                let parsed = limit.parse_into(&mut self.limits, text);
                parsed.map_err(|wrong| format!("--{}: {}", limit.name.replace('_', "-"), wrong.what()))?;
            }
        }
        Ok(())
    }
}

/// Reads the limits, and what is wrong between them.
fn read_limits(source: &Source<'_>, table: Table<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    let names: Vec<&str> = Limits::TABLE.iter().map(|limit| limit.name).collect();
    let mut given: Vec<Item<&str>> = Vec::new();
    for (name, text) in table.written("a number or text in quotes") {
        let key = format!("limits.{}", name.value);
        match Limit::named(&name.value) {
            None => {
                let near = file::did_you_mean(&name.value, &names);
                source.wrong(name.at, key, format!("there is no such limit{near}"));
            }
            Some(limit) => {
                if let Err(wrong) = limit.parse_into(&mut limits, &text.value) {
                    source.wrong(text.at, key, wrong.what());
                }
                given.push(Item { value: limit.name, at: name.at });
            }
        }
    }
    for contradiction in limits.contradictions() {
        // Both sides may stand in the file; the later of them is where the contradiction came in.
        let named = given.iter().filter(|name| contradiction.split(' ').any(|word| word == name.value));
        let at = named.max_by_key(|name| name.at);
        source.wrong(
            at.map_or(0, |name| name.at),
            format!("limits.{}", at.map_or("", |name| name.value)),
            contradiction,
        );
    }
    limits
}

fn parse_origins(named: &str, origins: Vec<String>) -> Result<OriginPolicy, String> {
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(origin) => Err(format!("{named}: {}", not_an_origin(origin))),
        None => Ok(policy(origins)),
    }
}

fn policy(origins: Vec<String>) -> OriginPolicy {
    match origins.is_empty() {
        _ if origins.iter().any(|origin| origin == "*") => OriginPolicy::Any,
        true => OriginPolicy::Same,
        false => OriginPolicy::Listed(origins),
    }
}

fn is_origin(origin: &str) -> bool {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    origin == "*" || rest.is_some_and(|host| !host.is_empty() && !host.contains('/'))
}

fn not_an_origin(origin: &str) -> String {
    format!("`{origin}` is not an origin such as https://example.org")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, String> {
        let args = std::iter::once("fanline").chain(args.iter().copied()).map(OsString::from);
        let get = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(args, get).map_err(|error| match error {
            SettingsError::Flags(error) => error.to_string(),
            SettingsError::Invalid(why) | SettingsError::File(why) => why,
        })
    }

    fn from_toml(text: &str, folder: &Path) -> Result<Settings, Vec<Mistake>> {
        Settings::from_toml(text, Around { env: &|_| None, folder })
    }

    #[test]
    fn flags_go_before_variables_and_every_limit_is_both() {
        assert_eq!(read(&[], &[]).unwrap(), Settings::default());
        for limit in Limits::TABLE {
            let flag = format!("--{}", limit.name.replace('_', "-"));
            let shown = limit.show(&Limits::default());
            let variable = format!("FANLINE_{}", limit.name.to_uppercase());
            assert!(read(&[&flag, &shown], &[]).is_ok(), "{flag}");
            assert!(read(&[], &[(&variable, "nonsense")]).unwrap_err().starts_with(&variable), "{variable}");
            assert!(read(&[&flag, "nonsense"], &[]).unwrap_err().starts_with(&flag), "{flag}");
        }
        let both =
            read(&["--walk-slice", "7"], &[("FANLINE_WALK_SLICE", "8"), ("FANLINE_READ_BUDGET", "9KiB")]);
        let limits = both.unwrap().limits;
        assert_eq!((limits.walk_slice, limits.read_budget), (7, 9 << 10));
        let listen = read(&["--listen", "[::1]:0", "--listen", "127.0.0.1:1"], &[("FANLINE_LISTEN", "x")]);
        assert_eq!(listen.unwrap().listen, ["[::1]:0", "127.0.0.1:1"]);
        let behind =
            ["--proxy-listen", "unix:/x", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "unix"];
        let variables = [("FANLINE_TRUSTED_PROXIES", "::1"), ("FANLINE_UNIX_MODE", "0600")];
        let settings = read(&behind, &variables).unwrap();
        assert_eq!(
            (settings.proxy_listen.as_slice(), settings.unix_mode),
            (&["unix:/x".to_owned()][..], 0o600)
        );
        assert_eq!(settings.trusted_proxies.to_string(), "10.0.0.0/8, unix");
        assert_eq!(read(&[], &variables).unwrap().trusted_proxies.to_string(), "::1");
        assert!(read(&["--trusted-proxy", "x"], &[]).unwrap_err().contains("--trusted-proxy: `x` is not"));
        let wrong = read(&[], &[("FANLINE_ORIGINS", "x")]).unwrap_err();
        assert!(wrong.starts_with("FANLINE_ORIGINS: `x` is not"), "{wrong}");
    }

    #[test]
    fn a_configuration_file_is_read() {
        let file = "
            listen = ['127.0.0.1:9000']
            origins = ['https://example.org']
            deflate = true
            [limits]
            message_bytes_max = '1MiB'
            walk_slice = 64
            [[route]]
            path = '/chat/{room}'
            mode = 'room'
            greeting = '欢迎大哥光临!'
            exit_word = 'exit'
            subprotocols = ['chat', 'superchat']
            subprotocol_required = true
            history = { messages = 7, age = '1m' }
            replay = 7
            compress = true
            rate = { messages = 3, per = '1s' }";
        let settings = from_toml(file, Path::new("")).unwrap();
        assert_eq!((settings.limits.message_bytes_max, settings.limits.walk_slice), (1 << 20, 64));
        let [route] = settings.routes.as_slice() else { panic!("{:?}", settings.routes) };
        assert_eq!(route.subprotocols, ["chat", "superchat"]);
        assert_eq!((route.keep.messages, route.keep.bytes, route.keep.age.as_secs()), (7, 64 << 10, 60));
        assert_eq!((route.replay, route.rate.map(|rate| rate.messages)), (7, Some(3)));
        assert!(route.compress && !Route::defaults().iter().any(|route| route.compress));
        let nothing = from_toml("# nothing", Path::new("")).unwrap();
        assert_eq!(nothing, Settings::default());
    }

    /// The mistakes of a file, each as it is printed.
    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = from_toml(text, Path::new("/nowhere")).unwrap_err();
        mistakes.iter().map(Mistake::to_string).collect()
    }

    #[test]
    fn every_mistake_is_found_with_its_line() {
        let room = "[[route]]\npath = '/x'\nmode = 'room'\n";
        let token = format!("[[auth.token]]\nsha256 = '{}'\n", "0f".repeat(32));
        let rows = [
            ("nonsense = 1", "1: nonsense: there is no such key"),
            ("\norigin = []", "2: origin: there is no such key; did you mean `origins`?"),
            ("listen = '127.0.0.1:1'", "1: listen: expected a list of texts in brackets, found a string"),
            ("listen = ['127.0.0.1']", "1: listen: `127.0.0.1` is not an address"),
            ("listen = []", "1: listen: names no address"),
            ("listen = ['x:1',\n'x:1']", "2: listen: `x:1` stands there twice"),
            ("listen = ['x:1',\n2]", "2: listen: expected text in quotes, found an integer"),
            ("listen = ['unix:']", "1: listen: `unix:` is not an address"),
            ("listen = ['unix:/x',\n'unix:/x']", "2: listen: `unix:/x` stands there twice"),
            ("proxy_listen = ['x']", "1: proxy_listen: `x` is not an address"),
            (
                "trusted_proxies = ['::1',\n'10.0.0.0/33']",
                "2: trusted_proxies: `10.0.0.0/33` is not a network",
            ),
            ("trusted_proxies = 'unix'", "1: trusted_proxies: expected a list of texts in brackets, found a"),
            ("unix_mode = '0888'", "1: unix_mode: `0888` are not a file's permissions, such as 0660"),
            ("unix_mode = '+660'", "1: unix_mode: `+660` are not a file's permissions, such as 0660"),
            ("unix_mode = 660", "1: unix_mode: expected text in quotes, found an integer"),
            ("deflate = 'yes'", "1: deflate: expected true or false, found a string"),
            ("origins = ['example.org']", "1: origins: `example.org` is not an origin"),
            ("static = 'here'", "1: static: `/nowhere/here` cannot be opened: No such file"),
            ("limits = 3", "1: limits: expected a table, found an integer"),
            ("[limits]\nnonsense = 1", "2: limits.nonsense: there is no such limit"),
            (
                "[limits]\nmesage_bytes_max = 1",
                "2: limits.mesage_bytes_max: there is no such limit; did you mean `message_bytes_max`?",
            ),
            ("[limits]\nwalk_slice = '1KiB'", "2: limits.walk_slice: `1KiB` is not a whole number"),
            ("[limits]\nwalk_slice = true", "2: limits.walk_slice: expected a number or text in quotes"),
            ("[limits]\nwalk_slice = -1", "2: limits.walk_slice: `-1` is not a whole number"),
            (
                "[limits]\noutbound_bytes_low = '3MiB'\nwalk_slice = 3\noutbound_bytes_high = '2MiB'",
                "4: limits.outbound_bytes_high: outbound_bytes_low is above outbound_bytes_high",
            ),
            ("[[route]]\nmode = 'echo'", "1: route.path: is missing"),
            ("[[route]]\npath = '/x'", "1: route.mode: is missing"),
            ("[[route]]\npath = 'x'\nmode = 'echo'", "2: route.path: `x` is not a path"),
            ("[[route]]\npath = '/a/../b'\nmode = 'echo'", "2: route.path: `/a/../b` has a dot segment"),
            ("[[route]]\npath = '/%41'\nmode = 'echo'", "2: route.path: `/%41` is matched decoded"),
            (
                "[[route]]\npath = '/x'\nmode = 'other'",
                "3: route.mode: `other` is none of \"room\", \"echo\"",
            ),
            (
                "[[route]]\npath = '/x'\nmode = 'echo'\necho = false",
                "4: route.echo: means nothing on a route",
            ),
            ("[[route]]\npath = '/x'\nmode = 'echo'\ncompress = true", "4: route.compress: means nothing"),
            (&format!("{room}compress = 1"), "4: route.compress: expected true or false, found an integer"),
            ("[[route]]\npath = '/{room}'\nmode = 'room'\nroom = 'x'", "4: route.room: is never used"),
            (&format!("{room}colour = 1"), "4: route.colour: there is no such key"),
            (&format!("{room}room = ''"), "4: route.room: is empty"),
            (&format!("{room}exit_word = ''"), "4: route.exit_word: is empty"),
            (&format!("{room}subprotocol_required = true"), "4: route.subprotocol_required: there are no"),
            (&format!("{room}subprotocols = ['a', 'a b']"), "4: route.subprotocols: `a b` is not a token"),
            (&format!("{room}subprotocols = ['a',\n'a']"), "5: route.subprotocols: `a` stands there twice"),
            (&format!("{room}template = 'hello'"), "4: route.template: has no {text}"),
            (
                &format!("{room}lag = 'drop'"),
                "4: route.lag: `drop` is none of \"close\", \"skip\", \"latest\"",
            ),
            (&format!("{room}presence = 'yes'"), "4: route.presence: `yes` is none of \"off\", \"on\","),
            (&format!("{room}replay = 101"), "4: route.replay: 101 is more than the 100 that history keeps"),
            (&format!("{room}replay = 1\nhistory.messages = 0"), "4: route.replay: there is no history"),
            (
                &format!("{room}history = {{ mesages = 1 }}"),
                "4: route.history.mesages: there is no such key; did",
            ),
            (&format!("{room}history = {{ age = 5 }}"), "4: route.history.age: `5` is not a time"),
            (&format!("{room}message_bytes_max = '17MiB'"), "4: route.message_bytes_max: is above limits."),
            (&format!("{room}rate = {{ messages = 0, per = '1s' }}"), "4: route.rate.messages: is 0"),
            (&format!("{room}rate = {{ messages = 1 }}"), "4: route.rate.per: is missing"),
            (&format!("{room}\n{room}"), "6: route.path: `/x` has a route on line 2 already"),
            (
                &format!("[[route]]\npath = '/{{room}}'\nmode = 'room'\n{room}"),
                "5: route.path: `/x` is never reached: `/{room}` on line 2 takes all its paths",
            ),
            (
                &format!("{room}[[route]]\npath = '/y'\nmode = 'room'\nroom = 'x'\nhistory.messages = 1"),
                "5: route.history: the room `x` keeps another history on line 2",
            ),
            ("[auth]\nanonymous = 'maybe'", "2: auth.anonymous: unknown variant `maybe`"),
            (
                "[auth.cookie]\nname = 'x'\nsecret = 'hunter2'",
                "3: auth.cookie.secret: unknown field `secret`",
            ),
            ("\n[auth.cookie]\nname = 'x'", "2: auth.cookie: missing field `secrets`"),
            (
                "[auth.cookie]\nname = 'x'\nsecrets = 'hunter2'",
                "3: auth.cookie.secrets: a secret does not stand",
            ),
            ("[auth]\nanonymous 'hunter2'", "2: this is not TOML: "),
            ("[auth]\ngrant = 3", "2: auth.grant: invalid type"),
            (
                "[tls]\nlisten = ['x:1']",
                "1: tls.listen: tls needs a certificate and a key: tls.cert and tls.key",
            ),
            (
                "[[auth.token]]\nuser = 'x'\nsecret.env = 'X'",
                "3: auth.token.secret: the variable X is not set",
            ),
            (&format!("{token}user = 'x'\n{token}user = ''"), "6: auth.token.user: `` is not a user's name"),
            ("route = 3", "1: route: expected tables, each under [[route]], found an integer"),
            ("listen = \n", "1: this is not TOML: "),
        ];
        for (text, want) in rows {
            let found = mistakes(text);
            assert!(found.len() == 1 && found[0].starts_with(want), "{text}\nwant {want}\nfound {found:#?}");
        }
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_in_one_go() {
        let text = "listen = ['here']
            deflate = 1
            colour = 'red'
            [limits]
            walk_slice = 'x'
            flush_budget = 0
            [[route]]
            path = /a
            mode = 'room'
            template = 'x'
            [[route]]
            mode = 'rom'
            rate = { messages = 0, par = 1 }";
        let lines: Vec<String> =
            mistakes(text).iter().map(|it| it.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        let want = [
            "1: listen:",
            "2: deflate:",
            "3: colour:",
            "5: limits.walk_slice:",
            "6: limits.flush_budget:",
            "8: this",
            "10: route.template:",
            "11: route.path:",
            "12: route.mode:",
            "13: route.rate.messages:",
            "13: route.rate.par:",
            "13: route.rate.per:",
        ];
        assert_eq!(lines, want, "{:#?}", mistakes(text));
    }

    #[test]
    fn the_summary_says_what_a_file_makes() {
        let text = "
            listen = ['127.0.0.1:8080', 'unix:/run/fanline.sock']
            proxy_listen = ['10.0.0.1:9000']
            trusted_proxies = ['127.0.0.1', '10.0.0.0/8', 'unix']
            unix_mode = '0600'
            deflate = true
            [limits]
            walk_slice = 7
            [auth]
            anonymous = 'refuse'
            [auth.header]
            name = 'x-user'
            from = ['::1']
            [[auth.grant]]
            users = ['*']
            rooms = ['*']
            rights = ['join']
            [[route]]
            path = '/prices/{room}'
            mode = 'room'
            read_only = true
            lag = 'latest'
            compress = true
            history = { messages = 1 }
            replay = 1
            [[route]]
            path = '/news/'
            mode = 'room'
            history = { messages = 0 }
            rate = { messages = 2, per = '1s' }";
        let summary = from_toml(text, Path::new("")).unwrap().summary();
        let want = "listens on 127.0.0.1:8080, unix:/run/fanline.sock\n\
            listens behind PROXY headers on 10.0.0.1:9000\n\
            trusts X-Forwarded-For and PROXY headers from 127.0.0.1, 10.0.0.0/8, unix\n\
            routes\n  \
            /prices/{room}  rooms, history of 1 message, 64KiB, 5m, replays 1, slow members go on with the newest, compressed, members only read\n  \
            /news           room `news`, no history, 2 messages per 1s at most\n\
            differs from the defaults\n  \
            unix_mode = 0600 (0660)\n  \
            deflate = true (false)\n  \
            auth = a proxy's header, 1 grant, without a proof one is refused (none)\n  \
            limits.walk_slice = 7 (32)";
        assert_eq!(summary, want);
    }

    #[test]
    fn who_shares_the_admin_port_among_processes_is_told_so() {
        for (listen, is_shared) in
            [("127.0.0.1:9001", true), ("127.0.0.1:0", false), ("unix:/run/a.sock", false)]
        {
            let text = format!("reuse_port = true\n[admin]\nlisten = ['{listen}']");
            let settings = from_toml(&text, Path::new("")).unwrap();
            assert_eq!(settings.shared_admin().is_some(), is_shared, "{listen}");
            assert_eq!(settings.summary().contains("reaches one of the processes"), is_shared, "{listen}");
            let alone = from_toml(&text.replace("true", "false"), Path::new("")).unwrap();
            assert_eq!(alone.shared_admin(), None);
        }
    }

    #[test]
    fn the_file_in_the_documents_is_good_and_names_what_a_restart_takes() {
        let page = include_str!("../../docs/settings.md");
        let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("public")).unwrap();
        for name in ["cert.pem", "key.pem", "admin.token"] {
            std::fs::write(folder.path().join(name), "0123456789abcdef").unwrap();
        }
        let settings = from_toml(shown, folder.path()).unwrap();
        let only_tls = shown.replacen("listen = [\"127.0.0.1:8080\", \"[::1]:8080\"]", "listen = []", 1);
        let only_tls = from_toml(&only_tls, folder.path()).unwrap();
        assert_eq!((only_tls.listen.len(), only_tls.tls.listen.len()), (0, 1));
        let [chat, prices] = settings.routes.as_slice() else { panic!("{:?}", settings.routes) };
        let plain = Route::defaults().remove(1);
        assert_eq!((&chat.pattern, chat.keep, chat.lag), (&plain.pattern, plain.keep, plain.lag));
        assert_eq!((prices.fixed_room().as_str(), prices.lag), ("stocks", crate::Lag::Latest));
        let stays = page.split("What stays until a restart").nth(1).unwrap().split("\n\n").next().unwrap();
        for name in Limits::FIXED {
            assert!(stays.contains(&format!("`{name}`")), "{name}");
        }
        assert_eq!(stays.matches('`').count() / 2, Limits::FIXED.len() + 11, "those, and where is listened");
        let others = "listen proxy_listen unix_mode tls backplane reuse_port takeover ledger log log_level admin.listen";
        for name in others.split(' ') {
            assert!(stays.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_cut_or_lacks_a_character_is_good_or_has_mistakes_on_its_lines() {
        let shown = include_str!("../../examples/tutorials.toml");
        let lines = shown.lines().count();
        let cut = shown.char_indices().map(|(at, _)| shown[..at].to_owned());
        let gap =
            shown.char_indices().map(|(at, c)| format!("{}{}", &shown[..at], &shown[at + c.len_utf8()..]));
        let quote = shown.char_indices().map(|(at, _)| format!("{}'[{{{}", &shown[..at], &shown[at..]));
        let mut bad = 0;
        for text in cut.chain(gap).chain(quote) {
            if let Err(mistakes) = from_toml(&text, Path::new("")) {
                assert!(!mistakes.is_empty() && mistakes.is_sorted());
                assert!(mistakes.iter().all(|mistake| (1..=lines + 1).contains(&mistake.line)), "{text}");
                bad += 1;
            }
        }
        assert!(bad > 1000, "only {bad}");
    }

    #[test]
    fn the_long_help_has_every_limit_and_the_short_one_none() {
        let (short, long) = (command().render_help().to_string(), command().render_long_help().to_string());
        for limit in Limits::TABLE {
            let flag = format!("--{}", limit.name.replace('_', "-"));
            assert!(long.contains(&flag) && !short.contains(&flag), "{flag}");
        }
        for flag in ["--listen", "--config", "--static", "--origin", "--deflate", "check FILE"] {
            assert!(long.contains(flag) && short.contains(flag), "{flag}");
        }
    }

    #[test]
    fn contradictions_are_found_before_anything_starts() {
        let why = read(&["--outbound-bytes-low", "2MiB"], &[]).unwrap_err();
        assert!(why.contains("outbound_bytes_low is above outbound_bytes_high"), "{why}");
        assert!(read(&["--nonsense"], &[]).unwrap_err().contains("--nonsense"));
        assert!(read(&["--config", "/nowhere/at/all"], &[]).unwrap_err().contains("/nowhere/at/all"));
    }
}
