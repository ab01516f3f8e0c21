//! tokio-tungstenite, on one thread: the project's examples `echo-server` and `server` side by side, chosen by the path.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use fanline_peers::{announce, listen_address, room_of};
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{StreamExt, TryStreamExt, future};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

type PeerMap = Arc<Mutex<HashMap<String, HashMap<SocketAddr, UnboundedSender<Message>>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen_address()?).await?;
    announce(listener.local_addr()?)?;
    let peers = PeerMap::default();
    loop {
        let (stream, address) = listener.accept().await?;
        let peers = Arc::clone(&peers);
        // A connection that ends with an error has ended.
        tokio::spawn(async move { serve(peers, stream, address).await.unwrap_or_default() });
    }
}

async fn serve(peers: PeerMap, stream: TcpStream, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
    let note = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, note).await?;
    match room_of(&path) {
        Some(room) => chat(peers, socket, room, address).await,
        None => echo(socket).await?,
    }
    Ok(())
}

async fn echo(socket: WebSocketStream<TcpStream>) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let (write, read) = socket.split();
    read.try_filter(|message| future::ready(message.is_text() || message.is_binary())).forward(write).await
}

async fn chat(peers: PeerMap, socket: WebSocketStream<TcpStream>, room: &str, address: SocketAddr) {
    let (sender, receiver) = unbounded();
    let lock = || peers.lock().unwrap_or_else(PoisonError::into_inner);
    lock().entry(room.to_owned()).or_default().insert(address, sender);
    let (outgoing, incoming) = socket.split();
    let broadcast = incoming.try_for_each(|message| {
        if message.is_text() || message.is_binary() {
            for peer in lock()[room].values() {
                // One that has gone is taken out by its own task.
                peer.unbounded_send(message.clone()).unwrap_or_default();
            }
        }
        future::ok(())
    });
    let forward = receiver.map(Ok).forward(outgoing);
    future::select(broadcast, forward).await;
    lock().entry(room.to_owned()).or_default().remove(&address);
}
