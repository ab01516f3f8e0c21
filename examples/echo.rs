//! Sends every message back: `cargo run --release --example echo`.

use fanline::{Context, Handler, Message, Opening, Response, Server};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn open(&mut self, _opening: &mut Opening<'_>) -> Result<(), Response> {
        Ok(())
    }

    fn message(&mut self, _state: &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        // An error means that the connection is closed, or reads too slowly to be answered.
        ctx.send(message).ok();
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".into());
    let server = Server::builder().listen(addr.as_str())?.stop_on_signals().bind(Echo)?;
    println!("listening on ws://{}", server.local_addrs()[0]);
    server.run()
}
