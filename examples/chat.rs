//! One room for everybody, with names: `cargo run --release --example chat`, then connect to `ws://127.0.0.1:8081/Ann`.

use fanline::{Closed, Context, Handler, Message, Opening, Refusal, Response, Server};

struct Chat;

impl Handler for Chat {
    type State = String; // the member's name

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<String, Response> {
        let name = opening.request().path().trim_start_matches('/').to_owned();
        if name.is_empty() {
            return Err(Refusal::Forbidden("connect to /your-name").into());
        }
        opening.join("lobby").map_err(|_| Refusal::Unavailable("the lobby is full"))?;
        opening.publish("lobby", &format!("{name} is here"));
        Ok(name)
    }

    fn message(&mut self, name: &mut String, ctx: &mut Context<'_>, message: Message<'_>) {
        if let Message::Text(text) = message {
            ctx.publish("lobby", &format!("{name}: {text}"));
        }
    }

    fn close(&mut self, name: String, ctx: &mut Context<'_>, _closed: &Closed) {
        ctx.publish("lobby", &format!("{name} has left"));
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".into());
    let server = Server::builder().listen(addr.as_str())?.stop_on_signals().bind(Chat)?;
    println!("listening on ws://{}", server.local_addrs()[0]);
    server.run()
}
