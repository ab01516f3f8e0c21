//! Prices, with a past for who comes late, at `ws://127.0.0.1:8082/`, or comes back, with `?since=epoch:offset`.

use std::time::Duration;

use fanline::{Context, Encoding, Handler, Join, Keep, Message, Opening, Refusal, Response, Server, Start};

struct Prices;

impl Handler for Prices {
    type State = ();

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        let start = match opening.request().query_value("since").map(|since| since.parse()) {
            Some(Ok(position)) => Start::Since { position, or_last: 1 },
            Some(Err(_)) => return Err(Refusal::Malformed("since is not epoch:offset").into()),
            None => Start::Last(1),
        };
        let join = Join { start, encoding: Encoding::Json, ..Join::default() };
        let joined = opening.join_as("prices", &join).map_err(|_| Refusal::Unavailable("too many rooms"))?;
        let hello = format!("{{\"position\":\"{}\",\"recovered\":{}}}", joined.position, joined.recovered);
        opening.send(&hello).map_err(|_| Refusal::Unavailable("the greeting does not fit").into())
    }

    fn message(&mut self, _state: &mut (), ctx: &mut Context<'_>, _message: Message<'_>) {
        ctx.close(1008, "prices are for reading").unwrap_or_default();
    }
}

fn main() -> std::io::Result<()> {
    let server = Server::builder().listen("127.0.0.1:8082")?.stop_on_signals().bind(Prices)?;
    let (handle, mut price) = (server.handle(), 1250);
    let kept = Keep { messages: 100, bytes: 64 << 10, age: Duration::from_secs(300) };
    std::thread::spawn(move || {
        while handle.keep("prices", kept).and_then(|()| handle.publish("prices", price.to_string())).is_ok() {
            (price, _) = (price + 1, std::thread::sleep(Duration::from_secs(1)));
        }
    });
    server.run()
}
