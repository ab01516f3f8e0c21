//! fastwebsockets behind hyper, on one thread: its examples `echo_server` and, for the rooms, `echo_server_split`.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fanline_peers::{announce, listen_address, room_of};
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite,
};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_util::StreamExt;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;

/// A message, or what a control frame is answered with.
type Outgoing = (OpCode, Bytes);
type PeerMap = Arc<Mutex<HashMap<String, HashMap<SocketAddr, UnboundedSender<Outgoing>>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen_address()?).await?;
    announce(listener.local_addr()?)?;
    let peers = PeerMap::default();
    loop {
        let (stream, address) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peers = Arc::clone(&peers);
        let service = service_fn(move |request| serve(Arc::clone(&peers), request, address));
        tokio::spawn(async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            // A connection that ends with an error has ended.
            http1::Builder::new().serve_connection(io, service).with_upgrades().await.unwrap_or_default();
        });
    }
}

async fn serve(
    peers: PeerMap,
    mut request: Request<Incoming>,
    address: SocketAddr,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let room = room_of(request.uri().path()).map(str::to_owned);
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(async move {
        let talk = async {
            match room {
                Some(room) => chat(peers, upgraded, room, address).await,
                None => echo(upgraded).await,
            }
        };
        tokio::task::unconstrained(talk).await.unwrap_or_default();
    });
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn chat(
    peers: PeerMap,
    upgraded: UpgradeFut,
    room: String,
    address: SocketAddr,
) -> Result<(), WebSocketError> {
    let (read, write) = upgraded.await?.split(tokio::io::split);
    let (sender, receiver) = unbounded();
    tokio::spawn(async move { forward(write, receiver).await.unwrap_or_default() });
    let lock = || peers.lock().unwrap_or_else(PoisonError::into_inner);
    lock().entry(room.clone()).or_default().insert(address, sender.clone());
    let mut read = FragmentCollectorRead::new(read);
    loop {
        let mut answer = |frame: Frame<'_>| {
            let outgoing = (frame.opcode, Bytes::copy_from_slice(&frame.payload));
            std::future::ready(sender.unbounded_send(outgoing))
        };
        let Ok(frame) = read.read_frame(&mut answer).await else { break };
        if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
            let payload = Bytes::copy_from_slice(&frame.payload);
            for peer in lock()[&room].values() {
                // One that has gone is taken out by its own task.
                peer.unbounded_send((frame.opcode, payload.clone())).unwrap_or_default();
            }
        } else if frame.opcode == OpCode::Close {
            break;
        }
    }
    lock().entry(room).or_default().remove(&address);
    Ok(())
}

async fn forward<S: AsyncWrite + Unpin>(
    mut write: WebSocketWrite<S>,
    mut receiver: UnboundedReceiver<Outgoing>,
) -> Result<(), WebSocketError> {
    while let Some((opcode, payload)) = receiver.next().await {
        write.write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload))).await?;
    }
    Ok(())
}
