//! The Fanline server.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fanline::app::{Admin, App, Files};
use fanline::auth::Gate;
use fanline::backplane::Target;
use fanline::limits::{Limit, Limits};
use fanline::record::{Entry, Filler, Oracle, Other, Tape};
use fanline::replay::ReplayError;
use fanline::settings::{self, Format, Log, Replay, Settings, SettingsError, Task, Tls};
use fanline::{Address, Builder, Listen, LogLines, Rules, Server, say};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tracing::{debug, error, info, warn};

fn main() -> ExitCode {
    match Task::read(std::env::args_os(), env) {
        Ok(Task::Check(file)) => check(&file),
        Ok(Task::Replay(asked)) => replay(&asked),
        Ok(Task::Ask(errand)) => match errand.run(&env) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                say(format_args!("fanline: {failure}"));
                ExitCode::FAILURE
            }
        },
        Ok(Task::Print(page)) => printed(page.print(&mut std::io::stdout())),
        Ok(Task::Serve(settings)) => match serve(*settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // The log is there by now, and may be read by a program.
                error!("{error}");
                ExitCode::from(2)
            }
        },
        Err(error) => match error {
            SettingsError::Flags(error) => error.exit(),
            SettingsError::Invalid(why) => fail(&format!("fanline: {why}")),
            SettingsError::File(mistakes) => fail(&mistakes),
        },
    }
}

fn env(name: &str) -> Option<String> {
    // What is no UTF-8 is not left out, but is found to be wrong like anything else.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Says what came of printing. Who has read enough, such as `head`, has not failed.
fn printed(result: std::io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(&format!("fanline: {error}")),
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn fail(why: &str) -> ExitCode {
    say(format_args!("{why}"));
    ExitCode::from(2)
}

/// Says what a configuration file makes, or what is wrong with it.
fn check(file: &Path) -> ExitCode {
    match Settings::from_file(file, &env) {
        Ok(settings) => {
            printed(writeln!(std::io::stdout(), "{}: ok\n{}", file.display(), settings.summary()))
        }
        Err(error) => fail(&words(error)),
    }
}

/// Plays a recording, and says whether the same came of it.
fn replay(asked: &Replay) -> ExitCode {
    let mut stdout = std::io::stdout();
    match fanline::replay::run(asked, &mut stdout) {
        Ok(outcome) => {
            writeln!(stdout, "{outcome}").unwrap_or_default();
            ExitCode::from(outcome.code())
        }
        Err(ReplayError::Output(error)) => printed(Err(error)),
        Err(error) => fail(&format!("fanline: {}: {error}", asked.file.display())),
    }
}

/// The recording that is asked for, begun.
fn tape(settings: &Settings) -> std::io::Result<Option<Tape>> {
    let Some(file) = &settings.recording.file else { return Ok(None) };
    let filler = Filler::default();
    let header = settings.recording_header(&filler).map_err(std::io::Error::other)?;
    let named = |error| std::io::Error::other(format!("record: `{}`: {error}", file.display()));
    Tape::create(file, header, filler, &settings.limits).map(Some).map_err(named)
}

fn words(error: SettingsError) -> String {
    match error {
        SettingsError::Flags(error) => error.to_string(),
        SettingsError::Invalid(why) | SettingsError::File(why) => why,
    }
}

/// Writes what happens to stderr, in the form that is asked for. That whoever read it has gone, or takes no more, is no
/// reason to end, or to wait.
fn begin_log(log: Log) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(log.level)
        .with_writer(|| LogLines)
        .log_internal_errors(false);
    match log.format {
        Format::Human => lines.with_ansi(false).init(),
        Format::Json => lines.json().init(),
    }
}

fn serve(settings: Settings) -> std::io::Result<()> {
    begin_log(settings.log);
    let file = settings.file.as_ref().map(|file| file.display().to_string());
    // What is not as it is by default; secrets are not shown among that.
    let settings_changed = settings.differences().join("; ");
    info!(version = env!("CARGO_PKG_VERSION"), file, settings = settings_changed, "fanline starts");
    raise_open_files(settings.limits.connections_max);
    debug!("limits: {}", describe(&settings.limits));
    if let Some(trust) = settings.trust() {
        info!("{trust}");
    }
    let known = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    settings::misspelt(known).iter().for_each(|said| warn!("{said}"));
    if let Some(surprise) = settings.shared_admin() {
        warn!("{surprise}");
    }
    let tape = tape(&settings)?;
    let server = bind(&settings, tape.clone());
    if let (Err(_), Some(file)) = (&server, &settings.recording.file) {
        // Nothing is in it, and it would be in the way of the next try.
        std::fs::remove_file(file).unwrap_or_default();
    }
    run(server?, &settings, tape)
}

/// What is served, with all that it needs of the machine.
fn bind(settings: &Settings, tape: Option<Tape>) -> std::io::Result<Server<App>> {
    let app = application(settings, tape.as_ref())?;
    let mut builder: Builder = Server::builder().reuse_port(settings.reuse_port);
    if let Some(path) = &settings.takeover {
        builder = builder.takeover(path);
    }
    let passed = passed_sockets()?;
    // Whoever passes sockets has said where to listen.
    let is_said = !passed.is_empty() && settings.listen == Settings::default().listen;
    for (socket, is_tls) in passed {
        builder = builder.adopt(socket, is_tls);
    }
    let (plain, tls) = (settings, &settings.tls);
    let listens = [
        (if is_said { &[][..] } else { &plain.listen }, false, false, false),
        (&tls.listen, true, false, false),
        (&plain.proxy_listen, false, true, false),
        (&tls.proxy_listen, true, true, false),
        (&plain.admin.listen, false, false, true),
    ];
    for (addrs, is_tls, is_proxied, is_admin) in listens {
        for addr in addrs {
            let named = |error| std::io::Error::other(format!("cannot listen on `{addr}`: {error}"));
            let address = Address::try_from(addr).map_err(named)?;
            builder = builder.listen_on(Listen { address, is_tls, is_proxied, is_admin });
        }
    }
    if let (Some(cert), Some(key)) = (&settings.tls.cert, &settings.tls.key) {
        builder = builder.tls(cert, key);
    }
    builder
        .limits(settings.limits.clone())
        .origins(settings.origins.clone())
        .deflate(settings.deflate)
        .ledger(settings.ledger)
        .trusted_proxies(settings.trusted_proxies.clone())
        .backplane(settings.backplane.clone())
        .unix_mode(settings.unix_mode)
        .record(tape)
        .stop_on_signals()
        .bind(app)
}

/// Serves until it is told to end.
fn run(server: Server<App>, settings: &Settings, tape: Option<Tape>) -> std::io::Result<()> {
    let fixed = Fixed::of(settings);
    let server = server.on_hangup(move |app, rules| {
        let time = NotifyState::monotonic_usec_now();
        notify(&[Some(NotifyState::Reloading), time.ok()].into_iter().flatten().collect::<Vec<_>>());
        match reload(app, rules, &fixed, tape.as_ref()) {
            Ok(said) => info!("{said}"),
            Err(why) => {
                why.lines().for_each(|line| warn!("{line}"));
                warn!("reload: the configuration stays as it was");
            }
        }
        notify(&[NotifyState::Ready]);
    })?;
    let listeners = server.listeners().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let budget_mib = Some(server.memory_budget() >> 20).filter(|_| server.memory_budget() != usize::MAX);
    if budget_mib.is_none() {
        warn!("neither the machine nor a control group says how much memory there is: set memory_budget");
    }
    info!(listeners, memory_budget_mib = budget_mib, "ready");
    let server = server.on_ending(|| notify(&[NotifyState::Stopping]));
    // Whoever was to read this may have gone; where another process has just let go, this one serves all the same.
    let mut stdout = std::io::stdout();
    for listen in server.listeners() {
        writeln!(stdout, "listening on {listen}").unwrap_or_default();
    }
    stdout.flush().unwrap_or_default();
    // One that takes the place of another is not the process that the manager has started.
    notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    server.run()
}

/// The sockets that whoever started the process has passed, as systemd does, each with whether it speaks TLS: those
/// named `tls` do.
fn passed_sockets() -> std::io::Result<Vec<(TcpListener, bool)>> {
    let names = env("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    // This also takes what it has read out of the environment.
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..passed.len() {
        if let Some(socket) = passed.take_tcp_listener(at)? {
            sockets.push((socket, names.get(at) == Some(&"tls")));
        }
    }
    Ok(sockets)
}

/// Tells a service manager that wants to know. Where it cannot be told, it finds out by itself, later.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("the service manager cannot be told: {error}");
    }
}

/// Where is listened, which a reload cannot change.
struct Fixed {
    listen: Vec<String>,
    proxy_listen: Vec<String>,
    unix_mode: u32,
    backplane: Option<Target>,
    tls: Tls,
    reuse_port: bool,
    takeover: Option<PathBuf>,
    ledger: bool,
    log: Log,
    admin_listen: Vec<String>,
}

impl Fixed {
    fn of(settings: &Settings) -> Self {
        Self {
            listen: settings.listen.clone(),
            proxy_listen: settings.proxy_listen.clone(),
            unix_mode: settings.unix_mode,
            backplane: settings.backplane.clone(),
            tls: settings.tls.clone(),
            reuse_port: settings.reuse_port,
            takeover: settings.takeover.clone(),
            ledger: settings.ledger,
            log: settings.log,
            admin_listen: settings.admin.listen.clone(),
        }
    }
}

/// What is made anew at a reload: all that stands between a request and its room.
fn application(settings: &Settings, tape: Option<&Tape>) -> std::io::Result<App> {
    let open = |folder: &PathBuf| {
        let named = |error| std::io::Error::other(format!("static: `{}`: {error}", folder.display()));
        Files::open(folder).map_err(named)
    };
    let files = settings.static_folder.as_ref().map(open).transpose()?;
    let admin = Admin::new(!settings.admin.listen.is_empty(), settings.admin.token.clone());
    let oracle = tape.cloned().map(Oracle::recorded).unwrap_or_default();
    let has_gate = settings.gate != Gate::default();
    Ok(App::new(settings.routes.clone())
        .with_files(files)
        .with_gate(settings.gate.clone())
        .with_metrics(settings.metrics)
        .with_admin(admin)
        .with_oracle(oracle, has_gate))
}

/// Reads flags, variables and the file anew, and takes over what can change; says what that was, or why nothing did.
fn reload(app: &mut App, rules: &mut Rules, fixed: &Fixed, tape: Option<&Tape>) -> Result<String, String> {
    let settings = Settings::read(std::env::args_os(), env).map_err(words)?;
    let recorded = tape.map(|tape| settings.recorded(tape.filler())).transpose()?;
    *app = application(&settings, tape).map_err(|error| error.to_string())?;
    if let (Some(tape), Some(recorded)) = (tape, recorded) {
        tape.note(&Entry::Other(Other::Settings(settings.gate != Gate::default(), recorded.into())));
    }
    rules.origins = settings.origins.clone();
    rules.deflate = settings.deflate;
    rules.trusted_proxies = settings.trusted_proxies.clone();
    let before = rules.limits.clone();
    let mut stay: Vec<String> =
        rules.limits.adopt(&settings.limits).into_iter().map(|name| format!("limits.{name}")).collect();
    let shown = |limit: &&Limit| limit.show(&rules.limits) != limit.show(&before);
    for limit in Limits::TABLE.iter().filter(shown) {
        let (name, is, was) = (limit.name, limit.show(&rules.limits), limit.show(&before));
        info!(name, is, was, "a limit has changed");
    }
    let new = Fixed::of(&settings);
    let differs = [
        (new.listen != fixed.listen, "listen"),
        (new.proxy_listen != fixed.proxy_listen, "proxy_listen"),
        (new.unix_mode != fixed.unix_mode, "unix_mode"),
        (new.backplane != fixed.backplane, "backplane"),
        (new.tls != fixed.tls, "tls"),
        (new.reuse_port != fixed.reuse_port, "reuse_port"),
        (new.takeover != fixed.takeover, "takeover"),
        (new.ledger != fixed.ledger, "ledger"),
        (new.log != fixed.log, "log"),
        (new.admin_listen != fixed.admin_listen, "admin.listen"),
    ];
    stay.extend(differs.iter().filter(|(differs, _)| *differs).map(|(_, name)| (*name).to_owned()));
    let stays = match stay.is_empty() {
        true => String::new(),
        false => format!("; only a restart changes {}", stay.join(", ")),
    };
    let routes = match settings.routes.len() {
        1 => "1 route".to_owned(),
        count => format!("{count} routes"),
    };
    let file =
        settings.file.as_ref().map_or("flags and variables".to_owned(), |file| file.display().to_string());
    Ok(format!("reload: {file} with {routes}{stays}"))
}

/// Raises this process's limit of open files as far as it may: each connection is one.
fn raise_open_files(connections_max: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match (setrlimit(Resource::Nofile, limit), limit.current) {
        (Ok(()), Some(files)) if files <= connections_max as u64 => warn!(
            "open files: {files}, too few for connections_max, {connections_max}: raise the hard limit, as with \
             LimitNOFILE= or --ulimit nofile="
        ),
        (Ok(()), Some(files)) => info!("open files: {files}"),
        (Ok(()), None) => info!("open files: unlimited"),
        (Err(error), _) => warn!("open files: the limit cannot be raised: {error}"),
    }
}

fn describe(limits: &Limits) -> String {
    let each = Limits::TABLE.iter().map(|limit| format!("{}={}", limit.name, limit.show(limits)));
    each.collect::<Vec<_>>().join(" ")
}
