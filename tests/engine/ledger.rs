//! The delivery ledger and the loop's health, by simulated time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fanline::app::{App, Mode, Pattern, Route};
use fanline::ledger::slow::Cause;
use fanline::ledger::snapshot::Outcomes;
use fanline::{
    Context, Exchange, Handler, Keep, Lag, Limits, Message, Opening, Refusal, Reply, Response, Snapshot,
    exposition,
};

use crate::world::World;

/// A time that fell into a bucket is shown as the bucket's middle, or its end.
fn is_about(shown: Duration, time: Duration) -> bool {
    shown.abs_diff(time) <= time / 30
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ends<H: Handler>(world: &mut World<H>) -> Outcomes {
    world.engine.check_ledger();
    world.engine.ledger().outcomes
}

#[test]
fn row_21_of_part_2_a_stalled_reader_moves_only_its_own_waiting() {
    let mut world = World::new(Limits::default());
    let members: Vec<usize> = (0..100).map(|_| world.open("/room")).collect();
    world.narrow(members[7], 0);
    world.send_text(members[0], "hello");
    world.turn();
    world.pass(millis(1234));
    let before = world.engine.ledger();
    assert_eq!((before.outcomes.sent, before.outcomes.waiting()), (99, 1));
    assert_eq!(before.all.waiting.max, Duration::from_nanos(64), "they were sent to in the same turn");
    world.widen(members[7], usize::MAX);
    world.turn();
    let Snapshot { all, outcomes, .. } = world.engine.ledger();
    assert_eq!((outcomes.owed, outcomes.sent, outcomes.waiting()), (100, 100, 0));
    assert!(all.waiting.max >= millis(1234) && is_about(all.waiting.max, millis(1234)), "{all:?}");
    assert!(is_about(all.total.max, millis(1234)) && all.waiting.p90 < millis(1), "{all:?}");
    assert_eq!([all.waiting.count, all.send.count, all.total.count, all.ingest.count], [100, 100, 100, 1]);
    world.engine.check_ledger();
}

#[test]
fn a_delivery_that_is_cut_ends_with_its_last_byte() {
    let mut world = World::new(Limits::default());
    let (a, b) = (world.open("/room"), world.open("/room"));
    world.narrow(b, 3);
    world.send_text(a, "hello");
    world.turn();
    assert_eq!(ends(&mut world), Outcomes { owed: 2, sent: 1, ..Outcomes::default() });
    world.pass(millis(500));
    world.widen(b, usize::MAX);
    world.turn();
    let Snapshot { all, outcomes, .. } = world.engine.ledger();
    assert_eq!(outcomes, Outcomes { owed: 2, sent: 2, ..Outcomes::default() });
    assert!(is_about(all.send.max, millis(500)) && all.waiting.max < millis(1), "{all:?}");
    world.narrow(b, 3);
    world.send_text(a, "and more");
    world.turn();
    world.end(b);
    world.pass(Duration::from_secs(20));
    assert_eq!(
        ends(&mut world),
        Outcomes { owed: 5, sent: 4, gone: 1, ..Outcomes::default() },
        "one is cut for ever, and of the notice that b has left only a is told"
    );
}

#[test]
fn what_is_not_sent_ends_by_the_rooms_rule_and_all_ends_add_up() {
    let limits = Limits { room_log_bytes_max: 1000, ..Limits::default() };
    for path in ["/closes", "/latest"] {
        let mut world = World::new(limits.clone());
        let (a, slow) = (world.open(path), world.open(path));
        world.narrow(slow, 0);
        for _ in 0..20 {
            world.send_text(a, &"x".repeat(98));
            world.turn();
        }
        world.widen(slow, usize::MAX);
        world.turn();
        let got = ends(&mut world);
        let want = match path {
            // It is not a member any more when the log has moved past it.
            "/closes" => Outcomes { owed: 31, sent: 20, passed: 11, ..Outcomes::default() },
            _ => Outcomes { owed: 40, sent: 21, skipped: 19, ..Outcomes::default() },
        };
        assert_eq!(got, want, "{path}");
    }
    let mut world = World::new(limits);
    let (a, slow) = (world.open("/skip"), world.open("/skip"));
    world.narrow(slow, 0);
    for _ in 0..20 {
        world.send_text(a, &"x".repeat(98));
        world.turn();
    }
    world.widen(slow, usize::MAX);
    world.turn();
    let got = ends(&mut world);
    assert_eq!((got.owed, got.skipped, got.waiting()), (40, world.metrics.skipped.get(), 0), "{got:?}");
    assert!(got.skipped > 5 && got.sent == 40 - got.skipped, "{got:?}");
}

#[test]
fn what_is_sent_of_the_past_waits_from_the_moment_somebody_came() {
    let mut world = World::new(Limits::default());
    let a = world.open("/kept/a");
    for _ in 0..3 {
        world.send_text(a, "old");
        world.turn();
    }
    world.pass(Duration::from_secs(30));
    let late = world.open_and_replay("/kept/a?last=3");
    assert_eq!(world.texts(late).len(), 3);
    let Snapshot { all, outcomes, .. } = world.engine.ledger();
    assert_eq!(outcomes, Outcomes { owed: 6, sent: 6, ..Outcomes::default() });
    assert!(all.total.max < millis(1), "it was not there to wait for half a minute: {all:?}");
}

#[test]
fn a_quiet_member_is_not_owed_what_it_publishes_itself() {
    let mut world = World::new(Limits::default());
    let (quiet, other) = (world.open("/room?quiet"), world.open("/room"));
    world.send_text(quiet, "mine");
    world.send_text(other, "yours");
    world.turn();
    world.narrow(quiet, 0);
    world.send_text(other, "yours");
    world.turn();
    world.send_text(quiet, "mine");
    world.turn();
    assert_eq!(ends(&mut world).waiting(), 1);
    world.widen(quiet, usize::MAX);
    world.turn();
    assert_eq!(ends(&mut world), Outcomes { owed: 6, sent: 6, ..Outcomes::default() });
    world.end(quiet);
    world.end(other);
    world.turn();
    assert_eq!(ends(&mut world).waiting(), 0);
}

#[test]
fn last_words_end_when_they_have_left_or_with_their_connection() {
    let mut world = World::new(Limits::default());
    let (a, b, c) = (world.open("/room"), world.open("/room"), world.open("/room"));
    for member in [b, c] {
        world.narrow(member, 0);
    }
    world.send_text(a, "one");
    world.turn();
    world.engine.stop(world.now);
    world.turn();
    assert_eq!(ends(&mut world).waiting(), 2, "what is still for them waits before their Close");
    world.widen(b, usize::MAX);
    world.turn();
    assert_eq!(ends(&mut world).sent, 2);
    world.pass(Duration::from_secs(20));
    let got = ends(&mut world);
    assert_eq!((got.owed, got.sent, got.gone, got.waiting()), (3, 2, 1, 0), "{got:?}");
}

#[test]
fn without_the_ledger_outcomes_are_counted_all_the_same() {
    let mut world = World::unmeasured();
    let (a, _b) = (world.open("/room"), world.open("/room"));
    world.send_text(a, "hello");
    world.turn();
    let snapshot = world.engine.ledger();
    assert_eq!((snapshot.is_on, snapshot.outcomes.sent, snapshot.all.total.count), (false, 2, 0));
    assert!(snapshot.classes.is_empty() && snapshot.rooms.is_empty());
}

thread_local! {
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A clock that goes on only where a handler takes its time.
fn clock() -> Instant {
    CLOCK.get().unwrap()
}

fn take_time(time: Duration) {
    CLOCK.set(CLOCK.get().map(|now| now + time));
}

/// Joins the room its path names, in a class of that room's first letter, and takes as many milliseconds as it is told.
struct Slow;

impl Handler for Slow {
    type State = String;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        match exchange.request().path() {
            "/metrics" => exposition::answer(exchange).into(),
            "/readyz" => exchange
                .unready()
                .map_or(Response::text(200, "ok").into(), |why| Refusal::Unavailable(why).into()),
            _ => Refusal::NotFound.into(),
        }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<String, Response> {
        let room = opening.request().path()[1..].to_owned();
        opening.join(&room)?;
        opening.classify(&room, &room[..1]);
        Ok(room)
    }

    fn message(&mut self, room: &mut String, ctx: &mut Context<'_>, message: Message<'_>) {
        ctx.publish(room, message);
        take_time(millis(message.as_text().unwrap().parse().unwrap()));
    }

    fn route(&self, room: &String) -> Option<String> {
        Some(format!("/{room}"))
    }
}

fn slow_world(limits: Limits) -> World<Slow> {
    let mut world = World::with_handler(Slow, limits);
    CLOCK.set(Some(world.now));
    world.engine.set_clock(clock);
    world
}

/// One turn as a reactor takes it.
fn whole_turn(world: &mut World<Slow>) -> Option<String> {
    world.now = clock();
    world.engine.begin_turn(world.now);
    world.engine.turn(world.now);
    world.engine.check_invariants();
    world.engine.end_turn().map(|overrun| overrun.to_string())
}

#[test]
fn row_21_of_part_2_what_a_slow_handler_costs_is_seen_in_each_stage() {
    let mut world = slow_world(Limits::default());
    let (a, b) = (world.open("/room"), world.open("/room"));
    world.send_text(a, "40");
    world.send_text(b, "10");
    whole_turn(&mut world);
    whole_turn(&mut world);
    let Snapshot { all, health, .. } = world.engine.ledger();
    // The first waits for both calls; the second is ingested after 40 ms, and waits for its own.
    assert!(is_about(all.ingest.max, millis(40)) && is_about(all.waiting.max, millis(50)), "{all:?}");
    assert!(is_about(all.waiting.p50, millis(10)) && is_about(all.total.p50, millis(50)), "{all:?}");
    assert!(is_about(health.handling.max, millis(40)) && is_about(health.delay.max, millis(40)));
    assert!(is_about(health.turn.max, millis(50)) && is_about(health.lag, millis(50)), "{health:?}");
    let longest = health.longest.unwrap();
    assert_eq!((longest.conn, longest.took, longest.calls), (world.clients[a].id, millis(40), 1));
}

#[test]
fn a_turn_over_its_budget_is_told_with_what_it_did_and_not_too_often() {
    let mut world = slow_world(Limits::default());
    let (a, b) = (world.open("/room"), world.open("/room"));
    world.send_text(a, "99");
    assert_eq!(whole_turn(&mut world), None);
    world.send_text(a, "1");
    world.send_text(b, "150");
    let told = whole_turn(&mut world).unwrap();
    let id = world.clients[b].id;
    assert!(told.contains("a turn took 151.0ms: 2 reads of ") && told.contains("2 calls"), "{told}");
    assert!(told.contains(&format!("the longest input {id} with 150.0ms for 1;")), "{told}");
    assert!(told.contains("4 deliveries of ") && told.contains("0 accepted"), "{told}");
    for _ in 0..3 {
        world.send_text(b, "200");
        assert_eq!(whole_turn(&mut world), None, "the last line is not a second ago");
    }
    take_time(Duration::from_secs(1));
    world.send_text(b, "200");
    assert!(whole_turn(&mut world).unwrap().ends_with("3 more such turns before it"));
    assert_eq!(world.engine.ledger().health.overruns, 5);
}

#[test]
fn row_21_of_part_2_a_slow_turn_is_remembered_with_what_took_the_time_for_whom_and_who_waited() {
    let mut world = slow_world(Limits::default());
    let (a, b, c) = (world.open("/x"), world.open("/y"), world.open("/z"));
    world.send_text(a, "150");
    whole_turn(&mut world);
    // These came meanwhile.
    world.send_text(b, "60");
    world.send_text(c, "60");
    assert_eq!(world.engine.ledger().slow_turns[0].held_up, None, "nobody has looked yet");
    whole_turn(&mut world);
    let latest = world.engine.ledger().slow_turns;
    let [many, one] = &latest[..] else { panic!("{latest:?}") };
    assert_eq!((one.cause, one.took, one.held_up), (Cause::Input, millis(150), Some(2)));
    let culprit = one.culprit().unwrap();
    assert_eq!((culprit.conn, culprit.took, culprit.calls), (world.clients[a].id, millis(150), 1));
    assert_eq!(one.whose.route.as_deref(), Some("/x"));
    assert!(one.whose.address.is_some() && one.at_ms > 0, "{one:?}");
    // Half of the time is one's, so it is not said to be many's.
    assert_eq!((many.cause, many.reads, many.took), (Cause::Input, 2, millis(120)));
    for member in [a, b, c] {
        world.send_text(member, "60");
    }
    whole_turn(&mut world);
    let latest = &world.engine.ledger().slow_turns[0];
    assert_eq!((latest.cause, latest.reads, latest.culprit()), (Cause::Inputs, 3, None));
    let shown = scrape(&mut world, "");
    for line in [
        "fanline_loop_overruns_total{cause=\"input\",route=\"/x\"} 1".to_owned(),
        "fanline_loop_overruns_total{cause=\"inputs\",route=\"\"} 1".to_owned(),
        "fanline_loop_overruns_total{cause=\"sending\",route=\"\"} 0".to_owned(),
        format!("fanline_loop_longest_input_seconds{{conn=\"{}\",route=\"/x\"}} 0.15", culprit.conn.short()),
    ] {
        assert!(shown.lines().any(|have| have == line), "{line} is not in\n{shown}");
    }
    // A while later no connection is named any more, and the turns are still counted.
    take_time(Duration::from_secs(30));
    whole_turn(&mut world);
    let shown = scrape(&mut world, "");
    assert!(!shown.contains("conn=") && shown.contains("{cause=\"input\",route=\"/x\"} 1"), "{shown}");
}

#[test]
fn row_6_of_part_2_a_server_is_not_ready_for_a_while_after_a_turn_that_took_too_long() {
    let mut world = slow_world(Limits::default());
    let member = world.open("/room");
    let asker = world.connect();
    let ask = |world: &mut World<Slow>| {
        world.send(asker, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
        whole_turn(world);
        world.answer(asker)
    };
    assert!(ask(&mut world).starts_with("HTTP/1.1 200 "));
    world.send_text(member, "1001");
    whole_turn(&mut world);
    let red = ask(&mut world);
    assert!(red.starts_with("HTTP/1.1 503 ") && red.contains("took too long"), "{red}");
    take_time(Duration::from_secs(9));
    assert!(ask(&mut world).starts_with("HTTP/1.1 503 "));
    take_time(Duration::from_secs(11));
    assert!(ask(&mut world).starts_with("HTTP/1.1 200 "));
    world.engine.set_door(0, true);
    assert!(ask(&mut world).contains("a listener takes in nobody"));
    world.engine.set_door(0, false);
    assert!(ask(&mut world).starts_with("HTTP/1.1 200 "));
}

#[test]
fn classes_and_the_busiest_rooms_have_times_of_their_own_and_all_add_up() {
    let limits = Limits { ledger_rooms_max: 2, ledger_classes_max: 2, ..Limits::default() };
    let mut world = slow_world(limits);
    let paths = ["/apples", "/anise", "/bread", "/cheese"];
    let members: Vec<usize> = paths.map(|path| world.open(path)).into();
    let publish = |world: &mut World<Slow>, which: usize, count: usize| {
        for _ in 0..count {
            world.send_text(members[which], "1");
            whole_turn(world);
        }
    };
    publish(&mut world, 0, 50);
    publish(&mut world, 1, 5);
    publish(&mut world, 2, 20);
    publish(&mut world, 3, 3);
    take_time(Duration::from_secs(2));
    whole_turn(&mut world);
    let names = |snapshot: &Snapshot| -> Vec<String> {
        snapshot.rooms.iter().map(|room| room.name.to_string()).collect()
    };
    let first = world.engine.ledger();
    assert_eq!(names(&first), ["apples", "bread"]);
    assert_eq!((&*first.rooms[0].class, first.rooms[0].members), ("a", 1));
    let classes: Vec<_> =
        first.classes.iter().map(|class| (class.name.to_string(), class.stages.total.count)).collect();
    let want = [("", 3), ("a", 55), ("b", 20)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(classes, want, "the third class is one too many");
    assert_eq!(first.lately.stages.total.count, 78);
    publish(&mut world, 3, 200);
    take_time(Duration::from_secs(2));
    whole_turn(&mut world);
    publish(&mut world, 3, 7);
    let then = world.engine.ledger();
    let names = names(&then);
    assert_eq!(names, ["cheese", "apples"]);
    assert_eq!(then.rooms[0].stages.total.count, 7, "since it is among the busiest");
    assert_eq!(then.classes.iter().map(|class| class.stages.total.count).sum::<u64>(), 285);
    assert_eq!(then.all.total.count, 285);
    let lately = then.lately.stages.waiting;
    assert!(lately.count == 200 && is_about(lately.p50, millis(1)), "{lately:?}");
    world.engine.check_ledger();
}

#[test]
fn what_ends_after_its_busy_room_has_gone_counts_with_the_rooms_class() {
    let limits = Limits { ledger_rooms_max: 1, ..Limits::default() };
    let mut world = slow_world(limits);
    let (author, slow) = (world.open("/apples"), world.open("/apples"));
    world.send_text(author, "0");
    take_time(Duration::from_secs(2));
    whole_turn(&mut world);
    assert_eq!(&*world.engine.ledger().rooms[0].name, "apples", "it has an account of its own");
    world.narrow(slow, 1);
    world.send_text(author, "0");
    whole_turn(&mut world);
    world.end(author);
    world.engine.stop(world.now);
    whole_turn(&mut world);
    assert!(world.engine.rooms().is_empty(), "all have been told to go");
    world.widen(slow, usize::MAX);
    whole_turn(&mut world);
    let counts = world.engine.ledger().classes.into_iter();
    let counts: Vec<_> = counts.map(|class| (class.name.to_string(), class.stages.total.count)).collect();
    assert_eq!(counts, [("a".to_owned(), 4)]);
    world.engine.check_ledger();
}

#[test]
fn row_21_of_part_2_what_took_long_before_it_was_published_is_in_the_sum() {
    let mut world = slow_world(Limits::default());
    let (a, b) = (world.open("/room"), world.open("/other"));
    world.send_text(a, "6000");
    world.send_text(b, "0");
    whole_turn(&mut world);
    whole_turn(&mut world);
    let all = world.engine.ledger().all;
    assert!(is_about(all.ingest.max, millis(6000)), "{all:?}");
    assert_eq!(all.total.count, 2);
    for total in [all.total.p50, all.total.max] {
        assert!(
            is_about(total, millis(6000)),
            "one has waited as long, the other was read as long ago: {all:?}"
        );
    }
}

#[test]
fn many_rooms_share_few_places_and_the_busiest_is_found_among_them() {
    let limits = Limits { ledger_rooms_max: 2, ..Limits::default() };
    let mut world = slow_world(limits);
    let quiet: Vec<usize> = (0..100).map(|i| world.open(&format!("/quiet{i}"))).collect();
    let busy = world.open("/busy");
    for round in 0..5 {
        for (i, member) in quiet.iter().enumerate() {
            world.send_text(*member, "0");
            if i % 4 == 0 {
                world.send_text(busy, "0");
            }
            whole_turn(&mut world);
        }
        take_time(Duration::from_secs(1));
        whole_turn(&mut world);
        assert!(world.engine.ledger().rooms.len() <= 2, "round {round}");
    }
    let snapshot = world.engine.ledger();
    assert_eq!(&*snapshot.rooms[0].name, "busy");
    for member in quiet.into_iter().chain([busy]) {
        world.end(member);
    }
    whole_turn(&mut world);
    whole_turn(&mut world);
    let snapshot = world.engine.ledger();
    assert!(snapshot.rooms.is_empty() && world.engine.rooms().is_empty());
    assert_eq!((snapshot.outcomes.sent, snapshot.all.total.count), (625, 625));
    world.engine.check_ledger();
}

fn scrape<H: Handler>(world: &mut World<H>, headers: &str) -> String {
    let asker = world.connect();
    world.ask(asker, "GET /metrics", headers, "")
}

#[test]
fn row_14_metrics_come_in_the_form_that_is_asked_for_and_say_what_the_ledger_knows() {
    let mut world = slow_world(Limits::default());
    let (a, _b) = (world.open("/room"), world.open("/room"));
    for _ in 0..10 {
        world.send_text(a, "20");
        whole_turn(&mut world);
    }
    let plain = scrape(&mut world, "");
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{plain}");
    for line in [
        "# TYPE fanline_deliveries_total counter",
        "fanline_deliveries_total{outcome=\"sent\"} 20",
        "fanline_deliveries_total{outcome=\"gone\"} 0",
        "fanline_deliveries_owed_total 20",
        "fanline_connections 2.0",
        "fanline_rooms 1.0",
        "fanline_ready 1.0",
        "# TYPE fanline_delivery_seconds histogram",
        "fanline_delivery_seconds_count{stage=\"total\",route=\"r\"} 20",
        "fanline_delivery_seconds_bucket{le=\"0.01\",stage=\"waiting\",route=\"r\"} 0",
        "fanline_delivery_seconds_bucket{le=\"0.025\",stage=\"waiting\",route=\"r\"} 20",
        "fanline_delivery_seconds_bucket{le=\"+Inf\",stage=\"waiting\",route=\"r\"} 20",
        "# TYPE fanline_build_info gauge",
        "fanline_requests_refused_total{status=\"503\"} 0",
        "# TYPE fanline_memory_bytes gauge",
    ] {
        assert!(plain.lines().any(|have| have == line), "{line} is not in\n{plain}");
    }
    assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
    let quantile = "fanline_delivery_quantile_seconds{stage=\"waiting\",quantile=\"0.5\"} ";
    let median = plain.lines().find_map(|line| line.strip_prefix(quantile)).unwrap();
    assert!((median.parse::<f64>().unwrap() / 0.020 - 1.0).abs() < 0.03, "{median}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5\r\n";
    let open = scrape(&mut world, accept);
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE fanline_deliveries counter\n"), "{open}");
}

#[test]
fn the_binary_shows_metrics_only_where_it_is_told_to_and_names_routes() {
    let chat = Route { keep: Keep::default(), lag: Lag::Skip, ..Route::new(Pattern::root(), Mode::Room) };
    let route = Route { pattern: Pattern::parse("/chat/{room}").unwrap(), ..chat };
    let mut world = World::with_handler(App::new(vec![route.clone()]), Limits::default());
    assert!(scrape(&mut world, "").starts_with("HTTP/1.1 404 "));
    let mut world = World::with_handler(App::new(vec![route]).with_metrics(true), Limits::default());
    let (a, _b) = (world.open("/chat/x"), world.open("/chat/y"));
    world.send_text(a, "hello");
    world.turn();
    let shown = scrape(&mut world, "");
    let line = "fanline_delivery_seconds_count{stage=\"send\",route=\"/chat/{room}\"} 1";
    assert!(shown.lines().any(|have| have == line), "{shown}");
    // Rooms are no labels: there may be many.
    assert!(!shown.contains("\"x\"") && shown.len() < 64 << 10, "{} bytes", shown.len());
}

/// Names that begin with `fanline_`, wherever they stand in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("fanline_")).map(str::to_owned).collect()
}

/// All that `/metrics` can show: also where rooms are shared.
fn everything_shown() -> String {
    let mut world = slow_world(Limits::default());
    let member = world.open("/room");
    world.send_text(member, "150");
    whole_turn(&mut world);
    let url = fanline::backplane::url::Url::parse("redis://127.0.0.1:1").unwrap();
    let target = fanline::backplane::Target { url, prefix: "x:".into(), protocol: Default::default() };
    world.engine.share(fanline::backplane::Backplane::new(target, &Limits::default(), 7));
    scrape(&mut world, "")
}

#[test]
fn the_dashboard_asks_for_what_there_is_and_for_all_of_it() {
    let file = include_str!("../../examples/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(file).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked: BTreeSet<String> =
        targets.flat_map(|target| names_in(target["expr"].as_str().unwrap())).collect();
    let shown = everything_shown();
    let samples: BTreeSet<String> =
        shown.lines().filter(|line| !line.starts_with('#')).flat_map(names_in).collect();
    for name in &asked {
        assert!(samples.contains(name), "{name} is on the dashboard and not in /metrics");
    }
    let families = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (family, _) in families {
        let is_asked = asked.iter().any(|name| name.starts_with(family));
        assert!(is_asked, "{family} is in /metrics and not on the dashboard");
    }
    assert_eq!(panels.iter().map(|panel| &panel["id"]).collect::<Vec<_>>().len(), panels.len());
}

#[test]
fn a_line_of_the_dashboard_is_one_however_many_servers_there_are_and_has_its_panels_unit() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../examples/grafana.json")).unwrap();
    let shown = everything_shown();
    for panel in dashboard["panels"].as_array().unwrap() {
        let config = &panel["fieldConfig"];
        let overrides = config["overrides"].as_array().unwrap().iter();
        let others: Vec<&str> = overrides
            .map(|other| other["matcher"]["options"].as_str().unwrap().trim_start_matches(".*"))
            .collect();
        for target in panel["targets"].as_array().unwrap() {
            let (expr, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            let is_one = ["sum", "min", "max", "count", "histogram_quantile"]
                .iter()
                .any(|fold| expr.starts_with(fold));
            assert!(is_one, "{expr} is a line for each server, and all are called {legend}");
            let is_time = expr.contains("_seconds") && !expr.contains("_seconds_count");
            let has_own = others.iter().any(|other| legend.ends_with(other));
            assert_eq!(is_time, config["defaults"]["unit"] == "s" && !has_own, "{expr}");
            let labels =
                expr.split(['{', '}', ',']).filter(|part| part.contains("=\"") && !part.contains('!'));
            for label in labels.filter(|label| !label.contains("$instance")) {
                assert!(shown.contains(label), "nothing has {label}");
            }
        }
    }
}

#[test]
fn names_in_metrics_follow_the_conventions() {
    let shown = everything_shown();
    for (family, kind) in shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let is_lower = family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_lower && family.starts_with("fanline_"), "{family}");
        assert_eq!(family.ends_with("_total"), kind == "counter", "{family} is a {kind}");
        assert!(kind != "histogram" || family.ends_with("_seconds"), "{family}");
        assert!(shown.contains(&format!("# HELP {family} ")), "{family}");
    }
}
