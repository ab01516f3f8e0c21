//! A room with a command that is slow: `cargo run --example slow`, connect to `ws://127.0.0.1:8081/Ann`, say `report`, and look
//! for it with `fanline top`.

use fanline::app::Administered;
use fanline::{Context, Handler, Identity, Message, Opening, Response, Server};

/// One room for all.
pub struct Lobby;

impl Handler for Lobby {
    type State = String; // the member's name

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<String, Response> {
        opening.join("lobby")?;
        Ok(opening.request().path().trim_start_matches('/').to_owned())
    }

    fn message(&mut self, _: &mut String, ctx: &mut Context<'_>, message: Message<'_>) {
        if message.as_text() == Some("report") {
            // Nobody else is served meanwhile: it belongs on a thread of its own.
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        ctx.publish("lobby", message);
    }

    // By these the tools know a connection.
    fn identity(&self, name: &String) -> Identity {
        Identity { user: Some(name.as_str().into()), token: None }
    }
    fn route(&self, _: &String) -> Option<String> {
        Some("/{name}".into())
    }
}

fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let builder = Server::builder().listen("127.0.0.1:8081")?.listen_admin("127.0.0.1:9001")?;
    builder.stop_on_signals().bind(Administered::new(Lobby))?.run()
}
