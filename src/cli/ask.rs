//! The commands that are one question or a few: rooms, peers, kick, publish.

use std::io::Read;

use clap::ArgMatches;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, encode, encode_room};
use super::show::{bytes, figures, json_line, number, plain, print, table, text, time, words};

/// Rows, page after page until there are as many as are wanted.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) rows: Vec<Value>,
    /// How many there are, where the server has counted them.
    total: Option<u64>,
    /// Whether there are more.
    has_more: bool,
}

pub(super) fn pages(client: &Client, path: &str, rows: &str, limit: u32) -> Result<Rows, Failure> {
    const PAGE: u32 = 500;
    let (mut all, mut after, mut total) = (Vec::new(), String::new(), None);
    loop {
        let wanted = if limit == 0 { PAGE } else { PAGE.min(limit - all.len() as u32) };
        let mut page = client.get(&format!("{path}&limit={wanted}{after}"))?;
        total = total.or(page["total"].as_u64());
        all.extend(page[rows].as_array_mut().map(std::mem::take).unwrap_or_default());
        match page["next"].as_str() {
            Some(next) if limit == 0 || (all.len() as u32) < limit => {
                after = format!("&after={}", encode(next))
            }
            next => return Ok(Rows { rows: all, total, has_more: next.is_some() }),
        }
    }
}

fn option(args: &ArgMatches, name: &str) -> String {
    args.get_one::<String>(name).cloned().unwrap_or_default()
}

fn amount(args: &ArgMatches, name: &str) -> u32 {
    args.get_one::<u32>(name).copied().unwrap_or_default()
}

/// Prints rows as JSON or as a table, and how many there are besides.
fn print_rows(
    args: &ArgMatches,
    name: &str,
    Rows { rows, total, has_more }: Rows,
    show: impl Fn(&[Value]) -> String,
) -> Result<(), Failure> {
    if args.get_flag("json") {
        return print(&json_line(&json!({ name: rows, "total": total })));
    }
    if rows.is_empty() {
        return print(&format!("no {name}\n"));
    }
    let count = total.map(|total| total.saturating_sub(rows.len() as u64));
    let rest = match count {
        Some(count) if has_more && count > 0 => format!("and {count} more; --limit 0 shows all\n"),
        Some(_) | None if has_more => "and more; --limit 0 shows all\n".to_owned(),
        Some(_) | None => String::new(),
    };
    print(&(show(&rows) + &rest))
}

pub(super) fn rooms(client: &Client, args: &ArgMatches) -> Result<(), Failure> {
    let path = format!("rooms?sort={}&prefix={}", option(args, "sort"), encode(&option(args, "prefix")));
    print_rows(args, "rooms", pages(client, &path, "rooms", amount(args, "limit"))?, show_rooms)
}

pub(super) fn show_rooms(rooms: &[Value]) -> String {
    let columns = [
        words("ROOM"),
        figures("MEMBERS"),
        figures("LAGGING"),
        figures("PUBLICATIONS"),
        figures("SKIPPED"),
        figures("LOG"),
    ];
    let row = |room: &Value| {
        let count = |name: &str| number(&room[name]).to_string();
        let log = bytes(number(&room["log_bytes"]));
        vec![
            text(&room["room"]),
            count("members"),
            count("lagging"),
            count("publications"),
            count("skipped"),
            log,
        ]
    };
    table(&columns, &rooms.iter().map(row).collect::<Vec<_>>())
}

/// What says whose connections are meant.
fn meant(args: &ArgMatches, names: &[&str]) -> String {
    let given = names.iter().filter_map(|name| args.get_one::<String>(name).map(|value| (name, value)));
    given.map(|(name, value)| format!("&{name}={}", encode(value))).collect()
}

pub(super) fn peers(client: &Client, args: &ArgMatches) -> Result<(), Failure> {
    let path = format!("peers?sort={}{}", option(args, "sort"), meant(args, &["user", "token", "room"]));
    print_rows(args, "peers", pages(client, &path, "peers", amount(args, "limit"))?, show_peers)
}

pub(super) fn show_peers(peers: &[Value]) -> String {
    let columns = [
        words("ID"),
        words("ADDRESS"),
        words("USER"),
        words("ROUTE"),
        words("ROOM"),
        words("PHASE"),
        figures("LAG"),
        figures("DELAY"),
        figures("OWED"),
        figures("AGE"),
    ];
    table(&columns, &peers.iter().map(peer_row).collect::<Vec<_>>())
}

fn peer_row(peer: &Value) -> Vec<String> {
    vec![
        text(&peer["id"]),
        text(&peer["address"]),
        text(&peer["user"]),
        text(&peer["route"]),
        room_of(peer),
        text(&peer["phase"]),
        number(&peer["lag"]).to_string(),
        time(number(&peer["delay_ms"])),
        bytes(number(&peer["owed_bytes"])),
        time(number(&peer["age_ms"])),
    ]
}

/// The room of a connection, and in how many others it is.
pub(super) fn room_of(peer: &Value) -> String {
    match (text(&peer["rooms"][0]), number(&peer["rooms_total"])) {
        (room, 0 | 1) => room,
        (room, count) => format!("{room} +{}", count - 1),
    }
}

pub(super) fn kick(client: &Client, args: &ArgMatches) -> Result<(), Failure> {
    let mut path =
        format!("kick?code={}{}", amount(args, "code"), meant(args, &["id", "user", "token", "room"]));
    if let Some(reason) = args.get_one::<String>("reason") {
        path += &format!("&reason={}", encode(reason));
    }
    let answer = client.post(&path, b"")?;
    let closed = number(&answer["closed"]);
    if args.get_flag("json") {
        print(&json_line(&answer))?;
    } else if closed > 0 {
        print(&format!("closed {closed} {}\n", if closed == 1 { "connection" } else { "connections" }))?;
    }
    match closed {
        0 => Err(Failure("nobody was there to be closed; `fanline peers` shows who is".to_owned())),
        _ => Ok(()),
    }
}

pub(super) fn publish(client: &Client, args: &ArgMatches) -> Result<(), Failure> {
    let (room, mut said) = (option(args, "room"), option(args, "text"));
    if said == "-" {
        said.clear();
        std::io::stdin().read_to_string(&mut said)?;
    }
    let answer = client.post(&format!("rooms/{}/messages", encode_room(&room)), said.as_bytes());
    let nowhere = || format!("no route leads to a room of the name `{}`", plain(&room));
    let answer = answer.map_err(|failure| failure.of_what(nowhere()))?;
    if args.get_flag("json") {
        return print(&json_line(&answer));
    }
    let members = number(&answer["members"]);
    match answer["position"].as_str() {
        Some(position) => print(&format!("published at {} to {members} members\n", plain(position))),
        None => Err(Failure(
            "nobody is in the room, and it keeps no history: nobody would have heard it".to_owned(),
        )),
    }
}
