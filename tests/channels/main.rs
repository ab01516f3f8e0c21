//! Nodes on a Channels layer, with the real `channels_redis`, Daphne and workers, and a real Redis.
#![forbid(unsafe_code)]

mod chat;
mod django;
mod faults;
#[path = "../nodes/node.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod node;
#[path = "../nodes/redis.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod redis;
#[path = "../../src/backplane/channels/script.rs"]
#[allow(dead_code, reason = "one of them is tried alone")]
mod script;

use std::fs;
use std::net::TcpStream;

use node::{Node, text};
use redis::Redis;
use serde_json::Value;
use tungstenite::WebSocket;

/// A node on the layer in this Redis, with routes as they stand in a file.
fn node(redis: &Redis, routes: &str, args: &[&str]) -> Node {
    node_at(&redis.url(), routes, args)
}

fn node_at(url: &str, routes: &str, args: &[&str]) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanline.toml");
    fs::write(&file, format!("[backplane]\nurl = '{url}'\nlayer = 'channels'\n{routes}")).unwrap();
    Node::ready(url, &[&["--config", file.to_str().unwrap()], args].concat())
}

/// The next text, which is JSON.
fn json(client: &mut WebSocket<TcpStream>) -> Value {
    serde_json::from_str(&text(client)).unwrap()
}
