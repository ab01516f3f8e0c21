//! The Fanline server.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use fanline::app::App;
use fanline::limits::Limits;
use fanline::settings::{Settings, SettingsError};
use fanline::{Builder, Server};

fn main() -> ExitCode {
    let settings = match Settings::read(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(SettingsError::Flags(error)) => error.exit(),
        Err(SettingsError::Invalid(why)) => return fail(&why),
    };
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("fanline: {why}");
    ExitCode::from(2)
}

fn serve(settings: Settings) -> std::io::Result<()> {
    eprintln!("open files: {}", raise_open_files());
    eprintln!("limits: {}", describe(&settings.limits));
    let mut builder: Builder = Server::builder();
    for addr in &settings.listen {
        let named = |error| std::io::Error::other(format!("cannot listen on `{addr}`: {error}"));
        builder = builder.listen(addr.as_str()).map_err(named)?;
    }
    let server = builder
        .limits(settings.limits)
        .origins(settings.origins)
        .deflate(settings.deflate)
        .stop_on_signals()
        .bind(App::new(settings.routes))?;
    for addr in server.local_addrs() {
        println!("listening on http://{addr}");
    }
    std::io::stdout().flush()?;
    server.run()
}

/// One connection is one open file, so the process takes all it may have.
fn raise_open_files() -> String {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current.map_or("unlimited".into(), |files| files.to_string()),
        Err(error) => format!("cannot be raised: {error}"),
    }
}

fn describe(limits: &Limits) -> String {
    let each = Limits::TABLE.iter().map(|limit| format!("{}={}", limit.name, limit.show(limits)));
    each.collect::<Vec<_>>().join(" ")
}
