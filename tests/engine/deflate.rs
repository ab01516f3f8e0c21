//! Compressed messages in rooms, RFC 7692: each publication compressed once, for all who agreed to it.

use fanline::Limits;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use crate::inflate::inflate;
use crate::world::{World, masked};

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Text and binary frames, whole and compressed.
const DEFLATED_TEXT: u8 = 0xc1;
const DEFLATED_BINARY: u8 = 0xc2;

/// The headers of a client that offers permessage-deflate with these parameters.
fn offer(parameters: &str) -> String {
    format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n")
}

/// A text that shrinks, and that no other number gives.
fn long(number: usize) -> String {
    format!("{number} {}", "once for all ".repeat(50))
}

/// What a client that keeps no window makes of a frame, and one with the window that was agreed.
fn plain((first, payload): &(u8, Vec<u8>), window: usize) -> String {
    let bytes = match first & 0x40 {
        0 => payload.clone(),
        _ => {
            let inflated = inflate(&[payload, &TAIL[..]].concat());
            assert!(inflated.reach <= window, "reaches back over {}", inflated.reach);
            inflated.bytes
        }
    };
    String::from_utf8(bytes).unwrap()
}

/// A client that keeps its window from one message to the next, as it may even where nobody refers to it.
struct Keeper(Inflate);

impl Keeper {
    fn new() -> Self {
        Self(Inflate::new(false, 15))
    }

    fn plain(&mut self, (first, payload): &(u8, Vec<u8>)) -> String {
        if first & 0x40 == 0 {
            return String::from_utf8(payload.clone()).unwrap();
        }
        let (mut out, before) = (vec![0; 100_000], self.0.total_out());
        let input = [payload, &TAIL[..]].concat();
        let status = self.0.decompress(&input, &mut out, InflateFlush::SyncFlush).unwrap();
        assert_eq!(status, Status::Ok);
        out.truncate((self.0.total_out() - before) as usize);
        String::from_utf8(out).unwrap()
    }
}

/// How often something was compressed.
fn count<H: fanline::Handler>(world: &World<H>) -> u64 {
    world.metrics.publications_deflated.get()
}

#[test]
fn row_15_of_part_2_a_publication_is_compressed_once_for_all_who_agreed_to_it() {
    let mut world = World::new(Limits::default());
    let publisher = world.open("/room");
    let offers = [
        "",
        "; client_max_window_bits",
        "; server_no_context_takeover; client_no_context_takeover",
        "; server_max_window_bits=15",
    ];
    let agreed: Vec<usize> =
        (0..40).map(|i| world.open_with("/room?compress", &offer(offers[i % 4]))).collect();
    // Nobody of these gets what it could not inflate, or did not ask for.
    let others = [
        world.open("/room?compress"),
        world.open_with("/room", &offer("")),
        world.open_with("/room?compress", &offer("; server_max_window_bits=9")),
        world.open_with("/room?compress", &offer("; server_max_window_bits=14")),
    ];
    for number in 1..=3 {
        world.send_text(publisher, &long(number));
        world.turn();
        assert_eq!(count(&world), number as u64, "once for 40 members");
    }
    let want: Vec<String> = (1..=3).map(long).collect();
    for client in agreed {
        let frames = world.frames(client);
        assert!(frames.iter().all(|frame| frame.0 == DEFLATED_TEXT && frame.1.len() < 50), "{frames:?}");
        assert_eq!(frames.iter().map(|frame| plain(frame, 1 << 15)).collect::<Vec<_>>(), want);
        let mut keeper = Keeper::new();
        assert_eq!(frames.iter().map(|frame| keeper.plain(frame)).collect::<Vec<_>>(), want);
    }
    for client in others {
        assert_eq!(world.texts(client), want);
    }
    let (before, after) = (&world.metrics.deflated_bytes_before, &world.metrics.deflated_bytes_after);
    assert_eq!(before.get(), want.iter().map(|text| text.len() as u64).sum::<u64>());
    assert!(after.get() < 150, "{} bytes", after.get());
    assert_eq!(world.engine.rooms().log_bytes(), 0, "what everybody has is not kept in any lane");
}

#[test]
fn row_15_of_part_2_rooms_send_nothing_compressed_unless_asked_to() {
    let mut world = World::new(Limits::default());
    let client = world.open_with("/room", &offer(""));
    world.send_text(client, &long(1));
    world.turn();
    assert_eq!((world.texts(client), count(&world)), (vec![long(1)], 0));
}

#[test]
fn row_15_of_part_2_what_is_too_short_or_does_not_shrink_or_is_too_long_stands_between_as_it_is() {
    let limits = Limits { deflate_bytes_min: 100, deflate_bytes_max: 2000, ..Limits::default() };
    let mut world = World::new(limits);
    let client = world.open_with("/room?compress", &offer(""));
    let mut state = 1u64;
    let noise: Vec<u8> = (0..500)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let messages: [(u8, Vec<u8>); 7] = [
        (0x81, vec![b'x'; 99]),
        (DEFLATED_TEXT, vec![b'x'; 100]),
        (0x82, noise),
        (DEFLATED_BINARY, vec![b'x'; 2000]),
        (0x81, vec![b'x'; 2001]),
        (0x81, Vec::new()),
        (DEFLATED_TEXT, vec![b'y'; 100]),
    ];
    let sent: Vec<u8> = messages.iter().flat_map(|(first, plain)| masked(first & !0x40, plain)).collect();
    world.send(client, &sent);
    let writes = world.clients[client].pipe.borrow().writes;
    world.turn();
    assert_eq!(world.clients[client].pipe.borrow().writes, writes + 1, "they lie side by side");
    let frames = world.frames(client);
    for ((first, payload), (want, plain)) in frames.iter().zip(&messages) {
        assert_eq!(first, want);
        let bytes = match first & 0x40 {
            0 => payload.clone(),
            _ => inflate(&[payload, &TAIL[..]].concat()).bytes,
        };
        assert!(bytes == *plain);
    }
    assert_eq!((frames.len(), count(&world)), (7, 3));
}

#[test]
fn row_15_of_part_2_json_is_compressed_too_and_both_lanes_each_once() {
    let mut world = World::new(Limits::default());
    let raw = world.open_with("/room?compress", &offer(""));
    let json: Vec<usize> = (0..5).map(|_| world.open_with("/room?compress&json", &offer(""))).collect();
    let uncompressed = world.open("/room?json");
    world.send_text(raw, &long(1));
    world.turn();
    assert_eq!(count(&world), 2);
    let want = world.texts(uncompressed);
    assert!(want[0].starts_with(r#"{"type":"message","offset":1,"#), "{want:?}");
    for client in json {
        let frames = world.frames(client);
        assert_eq!((frames.len(), frames[0].0), (1, DEFLATED_TEXT));
        assert_eq!(plain(&frames[0], 1 << 15), want[0]);
    }
    assert_eq!(plain(&world.frames(raw)[0], 1 << 15), long(1));
}

#[test]
fn rfc7692_s7_2_3_frames_made_for_all_mix_with_replies_and_pongs_whether_or_not_a_client_keeps_its_window() {
    let mut world = World::new(Limits::default());
    let client = world.open_with("/room?compress", &offer("; client_max_window_bits"));
    let mut want = Vec::new();
    for number in 0..20 {
        world.send_text(client, &long(number));
        world.send_text(client, "big");
        world.send(client, &masked(0x89, b"alive?"));
        world.send_text(client, "short");
        world.turn();
        want.extend([long(number), "x".repeat(10_000), "alive?".into(), "short".into()]);
    }
    let frames = world.frames(client);
    let kinds: Vec<u8> = frames.iter().take(4).map(|frame| frame.0).collect();
    // The pong passes the reply, and the reply what was published.
    assert_eq!(kinds, [0x8a, DEFLATED_BINARY, DEFLATED_TEXT, 0x81]);
    let mut keeper = Keeper::new();
    let mut kept: Vec<String> = frames.iter().map(|frame| keeper.plain(frame)).collect();
    let mut fresh: Vec<String> = frames.iter().map(|frame| plain(frame, 1 << 15)).collect();
    assert_eq!(kept, fresh);
    [&mut kept, &mut fresh, &mut want].into_iter().for_each(|texts| texts.sort());
    assert_eq!(fresh, want);
}

#[test]
fn row_15_of_part_2_readers_who_come_and_go_have_nothing_compressed_again() {
    let mut world = World::new(Limits::default());
    let publisher = world.open("/kept");
    for number in 0..5 {
        world.send_text(publisher, &long(number));
    }
    world.turn();
    for number in 5..15 {
        let late = world.open_and_replay_with("/kept?compress&last=5", &offer(""));
        world.turn();
        // What came before anybody read it compressed stands in the lane as it is.
        assert_eq!(world.texts(late), (number - 5..number).map(long).collect::<Vec<_>>());
        world.send_text(late, "leave");
        world.turn();
        world.send_text(publisher, &long(number));
        world.turn();
    }
    assert_eq!(count(&world), 0, "nobody was there to read it");
    let _reader = world.open_with("/kept?compress", &offer(""));
    for number in 15..18 {
        world.send_text(publisher, &long(number));
    }
    world.turn();
    let late = world.open_and_replay_with("/kept?compress&last=5", &offer(""));
    world.turn();
    let frames = world.frames(late);
    let kinds: Vec<u8> = frames.iter().map(|frame| frame.0).collect();
    assert_eq!(kinds, [0x81, 0x81, DEFLATED_TEXT, DEFLATED_TEXT, DEFLATED_TEXT]);
    let texts: Vec<String> = frames.iter().map(|frame| plain(frame, 1 << 15)).collect();
    assert_eq!(texts, (13..18).map(long).collect::<Vec<_>>());
    assert_eq!(count(&world), 3, "who comes late reads what was compressed before");
}

#[test]
fn row_15_of_part_2_a_slow_member_of_the_compressed_lane_gets_everything_whatever_the_cuts() {
    for window in [0, 1, 3, 40] {
        let mut world = World::new(Limits::default());
        let publisher = world.open("/room");
        let slow = world.open_with("/room?compress", &offer(""));
        world.narrow(slow, window);
        for number in 0..30 {
            // Every other one is too short to be compressed.
            let text = if number % 2 == 0 { long(number) } else { number.to_string() };
            world.send_text(publisher, &text);
            world.turn();
        }
        while {
            world.widen(slow, 7);
            world.turn();
            world.clients[slow].pipe.borrow().window == 0
        } {}
        let frames = world.frames(slow);
        let got: Vec<String> = frames.iter().map(|frame| plain(frame, 1 << 15)).collect();
        let want: Vec<String> =
            (0..30).map(|number| if number % 2 == 0 { long(number) } else { number.to_string() }).collect();
        assert_eq!(got, want, "window {window}");
        assert_eq!((count(&world), world.engine.rooms().log_bytes()), (15, 0));
    }
}

#[test]
fn row_15_of_part_2_the_lanes_memory_counts_and_is_bounded_as_the_others_are() {
    let mut world = World::new(Limits { room_log_bytes_max: 2000, ..Limits::default() });
    let publisher = world.open("/skip");
    let stalled = world.open_with("/skip?compress", &offer(""));
    world.narrow(stalled, 0);
    world.send_text(publisher, &long(0));
    world.turn();
    let raw = long(0).len() + 4;
    let held = world.engine.rooms().log_bytes();
    assert!(held > raw && held < raw + 60, "{held} bytes: the raw frame and the compressed one");
    for number in 1..500 {
        world.send_text(publisher, &long(number));
        world.turn();
        let held = world.engine.rooms().log_bytes();
        assert!(held <= 2 * 2000, "a log's length for each lane");
        assert!(world.engine.rooms().held().logs >= held, "what the memory budget is told has both");
    }
    assert_eq!(world.texts(publisher).len(), 500, "the others are not held up");
    world.widen(stalled, usize::MAX);
    world.turn();
    let frames = world.frames(stalled);
    let got: Vec<String> = frames.iter().map(|frame| plain(frame, 1 << 15)).collect();
    let skipped = world.metrics.skipped.get() as usize;
    let want: Vec<String> = (skipped..500).map(long).collect();
    assert!(got.ends_with(&want) && want.len() > 30, "{} of {}", want.len(), got.len());
    assert!(got.contains(&format!("{{\"skipped\":{skipped}}}")), "{got:?}");
    assert_eq!(world.engine.rooms().log_bytes(), 0);
}

#[test]
fn a_quiet_member_of_the_compressed_lane_is_sent_everything_but_its_own() {
    let mut world = World::new(Limits::default());
    let quiet = world.open_with("/room?compress&quiet", &offer(""));
    let other = world.open_with("/room?compress", &offer(""));
    for number in 0..10 {
        world.send_text(if number % 3 == 0 { quiet } else { other }, &long(number));
    }
    world.turn();
    let read = |world: &mut World, client| -> Vec<String> {
        world.frames(client).iter().map(|frame| plain(frame, 1 << 15)).collect()
    };
    let all = read(&mut world, other);
    assert_eq!(all.len(), 10);
    let not_its_own: Vec<String> = all
        .into_iter()
        .filter(|text| text.split(' ').next().unwrap().parse::<usize>().unwrap() % 3 != 0)
        .collect();
    assert_eq!(read(&mut world, quiet), not_its_own);
}

/// A message of so many zeros, as a client sends it that wants it to be long for us and short for itself.
fn bomb(len: usize) -> Vec<u8> {
    let (mut stream, mut out) = (Deflate::new(9, false, 15), vec![0; len / 500 + 100]);
    stream.compress(&vec![0; len], &mut out, DeflateFlush::SyncFlush).unwrap();
    out.truncate(stream.total_out() as usize - TAIL.len());
    masked(DEFLATED_BINARY, &out)
}

#[test]
fn row_16_of_part_2_many_small_bombs_take_no_more_of_a_turn_than_the_read_budget_and_hold_up_nobody() {
    let limits = Limits { read_budget: 64 << 10, message_bytes_max: 1 << 20, ..Limits::default() };
    for (len, a_turn) in [(1000, 66), (32 << 10, 2), (40_000, 2), (64 << 10, 1), (1 << 20, 1)] {
        let mut world = World::new(limits.clone());
        let bomber = world.open_with("/a", &offer(""));
        let bystander = world.open("/b");
        let (mut left, sent) = (a_turn * 5, bomb(len).repeat(a_turn as usize * 5));
        assert!(sent.len() < 32 << 10, "{} bytes: one read of a socket", sent.len());
        world.send(bomber, &sent);
        while left > 0 {
            world.send_text(bystander, "only me");
            let before = world.metrics.messages.get();
            world.engine.turn(world.now);
            let bombs = world.metrics.messages.get() - before - 1;
            assert!(bombs > 0 && bombs <= a_turn, "{bombs} of {len} bytes in a turn");
            assert_eq!(world.texts(bystander), ["only you"], "in the same turn");
            left -= bombs;
        }
        world.turn();
        assert_eq!(world.engine.rooms().log_bytes(), 0);
    }
}

#[test]
fn row_16_of_part_2_a_bomb_ends_its_own_connection_with_1009_and_nothing_of_it_remains() {
    let mut world = World::new(Limits { message_bytes_max: 50_000, ..Limits::default() });
    let bystander = world.open_with("/room", &offer(""));
    for len in [50_001, 1 << 20, 4 << 20] {
        let bomber = world.open_with("/room", &offer(""));
        world.send(bomber, &[bomb(50_000), bomb(len), bomb(50_000)].concat());
        world.turn();
        let frames = world.frames(bomber);
        let (first, reason) = frames.last().unwrap();
        assert_eq!((*first, &reason[..2]), (0x88, &1009u16.to_be_bytes()[..]));
        let at_the_limit = world.frames(bystander).iter().filter(|frame| frame.1 == [0; 50_000]).count();
        assert_eq!(at_the_limit, 1, "what came before it was heard, what came after it was not");
    }
    assert_eq!((world.metrics.violations.get(), world.engine.rooms().members("/room")), (3, 1));
    assert_eq!(world.engine.rooms().log_bytes(), 0);
}

#[test]
fn row_16_of_part_2_bombs_behind_our_close_are_not_inflated() {
    let mut world = World::new(Limits { message_bytes_max: 50_000, ..Limits::default() });
    let client = world.open_with("/room", &offer(""));
    world.send_text(client, "bye");
    world.send(
        client,
        &[bomb(4 << 20), bomb(1 << 20).repeat(10), masked(0x88, &4001u16.to_be_bytes())].concat(),
    );
    world.turn();
    // Had one been inflated, it would have been a breach, and the peer's Close not read.
    assert_eq!(world.told().last().unwrap(), "close /room 4001 Server clean=true");
}

#[test]
fn row_16_of_part_2_a_ratio_that_an_operator_sets_is_kept_and_may_change_while_the_server_runs() {
    let limits = Limits { inflate_ratio_max: 100, read_budget: 64 << 10, ..Limits::default() };
    let mut world = World::new(limits);
    let is_refused = |world: &mut World, len: usize| {
        let client = world.open_with("/room", &offer(""));
        world.send(client, &bomb(len));
        world.turn();
        let is_refused = world.frames(client).last().unwrap().0 == 0x88;
        world.end(client);
        world.turn();
        is_refused
    };
    assert!(!is_refused(&mut world, 64 << 10), "as much as a turn may read");
    assert!(is_refused(&mut world, (64 << 10) + 1));
    world.engine.reload(|_, rules| rules.limits.inflate_ratio_max = 0);
    assert!(!is_refused(&mut world, 1 << 20));
}
