//! yawc behind hyper, on one thread: its server example, with an echo, and rooms of unbounded channels.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fanline_peers::{announce, listen_address, room_of};
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{SinkExt, StreamExt, future};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use yawc::{Frame, HttpWebSocket, OpCode, Options, WebSocket};

type PeerMap = Arc<Mutex<HashMap<String, HashMap<SocketAddr, UnboundedSender<Frame>>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen_address()?).await?;
    announce(listener.local_addr()?)?;
    let peers = PeerMap::default();
    loop {
        let (stream, address) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peers = Arc::clone(&peers);
        let service = service_fn(move |request| upgrade(Arc::clone(&peers), request, address));
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            // A connection that ends with an error has ended.
            http1::Builder::new().serve_connection(io, service).with_upgrades().await.unwrap_or_default();
        });
    }
}

async fn upgrade(
    peers: PeerMap,
    mut request: Request<Incoming>,
    address: SocketAddr,
) -> yawc::Result<Response<Empty<Bytes>>> {
    let room = room_of(request.uri().path()).map(str::to_owned);
    // Its default refuses what the largest echo sends.
    let options = Options::default().with_max_payload_read(16 << 20).with_max_read_buffer(32 << 20);
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(async move {
        match (upgraded.await, room) {
            (Ok(socket), Some(room)) => chat(peers, socket, room, address).await,
            (Ok(socket), None) => echo(socket).await.unwrap_or_default(),
            (Err(_), _) => {}
        }
    });
    Ok(response)
}

async fn echo(mut socket: HttpWebSocket) -> yawc::Result<()> {
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

async fn chat(peers: PeerMap, socket: HttpWebSocket, room: String, address: SocketAddr) {
    let (sender, receiver) = unbounded();
    let lock = || peers.lock().unwrap_or_else(PoisonError::into_inner);
    lock().entry(room.clone()).or_default().insert(address, sender);
    let (outgoing, incoming) = socket.split();
    let broadcast = incoming.for_each(|frame| {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            for peer in lock()[&room].values() {
                // One that has gone is taken out by its own task.
                peer.unbounded_send(frame.clone()).unwrap_or_default();
            }
        }
        future::ready(())
    });
    future::select(broadcast, receiver.map(Ok).forward(outgoing)).await;
    lock().entry(room.clone()).or_default().remove(&address);
}
