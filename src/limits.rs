//! Every number that bounds something: unit, default, reason.
//!
//! A limit is a field of [`Limits`] and a row of [`Limits::TABLE`]; the row is what makes it a key of the
//! configuration file, an environment variable, a flag and a line of `docs/settings.md`.

mod invalid;
mod unit;

use std::time::Duration;

pub use invalid::InvalidLimit;
pub use unit::Unit;

/// One row of the table of limits.
pub struct Limit {
    /// The name: the field, the key in a configuration file and, with dashes, the flag.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// What it bounds, and why there has to be a bound.
    pub reason: &'static str,
    get: fn(&Limits) -> u64,
    set: fn(&mut Limits, u64),
}

impl Limit {
    /// The row with this name, as `message_bytes_max` or as `message-bytes-max`.
    pub fn named(name: &str) -> Option<&'static Limit> {
        let name = name.replace('-', "_");
        Limits::TABLE.iter().find(|limit| limit.name == name)
    }

    /// The value in `limits`, written the way [`Limit::parse_into`] reads it.
    pub fn show(&self, limits: &Limits) -> String {
        self.unit.show((self.get)(limits))
    }

    /// Sets this limit from its written form.
    ///
    /// # Errors
    /// [`InvalidLimit`] names the limit and what its unit accepts.
    pub fn parse_into(&self, limits: &mut Limits, text: &str) -> Result<(), InvalidLimit> {
        let invalid = || InvalidLimit { name: self.name, unit: self.unit, text: text.to_owned() };
        let value = self.unit.parse(text).ok_or_else(invalid)?;
        (self.set)(limits, value);
        Ok(())
    }
}

macro_rules! field_type {
    (Time) => {
        Duration
    };
    ($unit:ident) => {
        usize
    };
}

macro_rules! from_raw {
    (Time, $raw:expr) => {
        Duration::from_millis($raw)
    };
    ($unit:ident, $raw:expr) => {
        $raw as usize
    };
}

macro_rules! to_raw {
    (Time, $value:expr) => {
        $value.as_millis() as u64
    };
    ($unit:ident, $value:expr) => {
        $value as u64
    };
}

macro_rules! limits {
    ($($name:ident: $unit:ident = $default:expr, $reason:literal;)*) => {
        /// Every bound of a server, with the defaults a public server can run on.
        ///
        /// ```
        /// let limits = fanline::Limits { message_bytes_max: 64 * 1024, ..Default::default() };
        /// assert_eq!(limits.walk_slice, 32);
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $reason] pub $name: field_type!($unit),)*
        }

        impl Limits {
            /// One row per field, in the order in which a byte meets them.
            pub const TABLE: &'static [Limit] = &[$(Limit {
                name: stringify!($name),
                unit: Unit::$unit,
                reason: $reason,
                get: |limits| to_raw!($unit, limits.$name),
                set: |limits, raw| limits.$name = from_raw!($unit, raw),
            },)*];
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: from_raw!($unit, $default),)* }
            }
        }
    };
}

limits! {
    memory_budget: Bytes = 0,
        "Memory the server keeps within, but for the kernel's buffers; 0 for half of what the machine or its control group has.";
    accept_backlog: Count = 4096,
        "Connections the kernel completes before the loop accepts them; a reconnect storm waits here.";
    accept_budget: Count = 64,
        "Connections accepted in one turn, so that a storm does not hold up those already connected.";
    accept_retry: Time = 100,
        "Pause after an accept error such as EMFILE; an edge-triggered listener is not announced again.";
    connections_max: Count = 16_384,
        "Connections at once; the next one is answered 503.";
    admin_connections_max: Count = 32,
        "Connections at once through the admin listener; they have places beside connections_max, so that one can look when all are taken.";
    surveys_max: Count = 4,
        "Requests that look through all connections or rooms at a time; a further one is answered 503.";
    survey_slice: Count = 256,
        "Connections or rooms that such a request looks at in one turn, so that nobody waits for it.";
    survey_deadline: Time = 60_000,
        "Time for such a request to be answered; then it is told 503.";
    proxy_header_bytes_max: Bytes = 2 << 10,
        "Length of a PROXY header of version 2, with all that a proxy adds; a connection with a longer one is dropped.";
    connections_per_address_max: Count = 0,
        "Connections of one client address, or of one IPv6 site; the next one is answered 429. 0 for no cap: behind a proxy that is not trusted, all have its address.";
    head_bytes_max: Bytes = 16 << 10,
        "Length of a request head; a longer one is answered 431.";
    headers_max: Count = 100,
        "Header fields in a request head; more are answered 431.";
    head_deadline: Time = 10_000,
        "Time from connecting, or from the last response, to a complete request head.";
    response_progress: Bytes = 16 << 10,
        "Bytes of a response that a slow reader has to take at once for its deadline to begin anew.";
    body_bytes_max: Bytes = 1 << 20,
        "Length of a request's body; a longer one is answered 413.";
    body_deadline: Time = 30_000,
        "Time from the head of a request to the end of its body.";
    admission_deadline: Time = 10_000,
        "Time a handler may take to decide on a deferred admission; then the answer is 503.";
    first_message_deadline: Time = 0,
        "Time from the handshake to the first message; 0 for those who may listen only.";
    message_bytes_max: Bytes = 16 << 20,
        "Length of a received message after reassembly and inflation; a longer one is closed with 1009.";
    read_budget: Bytes = 256 << 10,
        "Bytes read, or inflated, from one connection in one turn, so that a fast sender waits for the others.";
    inflate_budget: Bytes = 4 << 20,
        "Bytes inflated in one turn, on all connections together, and the message that reaches it; the others wait.";
    frame_budget: Count = 256,
        "Frames handled from one connection in one turn, however short; a request counts for 16.";
    receive_buffer: Bytes = 64 << 10,
        "The one buffer that all connections are read into.";
    events_max: Count = 1024,
        "Readiness events taken from the kernel in one turn.";
    control_bytes_max: Bytes = 4 << 10,
        "Pongs waiting for one connection; past it only the latest ping is answered (RFC 6455 §5.5.3).";
    outbound_bytes_high: Bytes = 1 << 20,
        "Replies waiting for one connection above which it is no longer read.";
    outbound_bytes_low: Bytes = 256 << 10,
        "Replies waiting for one connection below which it is read again.";
    outbound_bytes_max: Bytes = 64 << 20,
        "Replies waiting for one connection above which a further send is refused to the handler.";
    spare_bytes_max: Bytes = 8 << 20,
        "Long buffers kept for the next long message, whichever connection it comes on; more go back to the system.";
    flush_budget: Count = 512,
        "Connections whose replies are sent in one turn.";
    deflate_bytes_min: Bytes = 128,
        "Length from which a reply or a publication is compressed where permessage-deflate was negotiated.";
    deflate_bytes_max: Bytes = 1 << 20,
        "Length of a reply or a publication above which it is sent as it is, since all wait while it is compressed.";
    inflate_ratio_max: Count = 0,
        "How many times longer a message may become by inflation, past read_budget; 0 for as many as deflate can, about 1030.";
    rooms_max: Count = 100_000,
        "Rooms at once; joining a further one is refused.";
    rooms_per_connection_max: Count = 128,
        "Rooms one connection may be in.";
    room_name_bytes_max: Bytes = 256,
        "Length of a room's name.";
    room_log_bytes_max: Bytes = 4 << 20,
        "Publications a room keeps for its slow members; one further behind is closed with 1013, and who publishes waits while half of it is unsent.";
    static_bytes_max: Bytes = 4 << 20,
        "Length of a file that is served; a longer one is answered 404, since a file is read whole while all wait.";
    page_entries_max: Count = 1000,
        "Messages, rooms or users on a page of an answer; who asks for more gets the next page.";
    page_bytes_max: Bytes = 1 << 20,
        "Bytes of messages after which a page ends, with at least one on it.";
    poll_wait_max: Time = 60_000,
        "Time a request may wait for the next publication.";
    idempotency_keys_max: Count = 1024,
        "Keys a room remembers, so that a publication that is tried again is not published again.";
    idempotency_key_bytes_max: Bytes = 128,
        "Length of such a key, as its client writes it.";
    idempotency_age: Time = 300_000,
        "Time for which such a key is remembered; by Redis at least for twice backplane_publish_deadline.";
    walk_slice: Count = 32,
        "Room members sent to before the sockets are looked at again; 0 walks a whole room at once.";
    walk_slice_bytes: Bytes = 1 << 20,
        "Bytes of room messages sent before the sockets are looked at again; long messages make shorter slices.";
    ledger_rooms_max: Count = 16,
        "Busiest rooms whose deliveries are measured each by itself, at about 32 KiB; 0 for none.";
    ledger_classes_max: Count = 32,
        "Classes of rooms, such as routes, whose deliveries are measured each by itself, at about 32 KiB; further ones are one.";
    turn_budget: Time = 100,
        "Length of a turn of the loop above which a line on stderr says what it did, at most one a second.";
    slow_turns_max: Count = 16,
        "The latest such turns that are remembered, each with what took the time and for whom, as `fanline top` shows them.";
    ready_lag_max: Time = 1_000,
        "Length of a turn above which the server is not ready for a while: who comes would wait as long.";
    ready_lag_age: Time = 10_000,
        "That while, and as long again at the most.";
    presence_grace: Time = 5_000,
        "Time for a user whose last connection has gone to come back, as after a reload of a page, without a notice of either.";
    presence_leaving_max: Count = 16_384,
        "Users in that time at once, where there is no backplane; past it the first of them has left.";
    presence_lease: Time = 30_000,
        "Time after which the users of a node are gone that other nodes have not heard of; it says that it is there every third of it.";
    presence_pending_max: Count = 256,
        "Changes of presence on their way to Redis at once, each of one room, and as many questions; changes wait their turn, questions are answered 503.";
    backplane_connect_deadline: Time = 2_000,
        "Time for Redis to take a connection and its greeting.";
    backplane_reply_deadline: Time = 3_000,
        "Time for Redis to answer a command; then the connection is given up for another.";
    backplane_publish_deadline: Time = 5_000,
        "Time for a publication to come through Redis; then whoever waits for it is told 503.";
    backplane_retry_min: Time = 50,
        "Pause before a lost connection to Redis is tried again; it doubles each time until a canary has come back, and half of it is random.";
    backplane_retry_max: Time = 2_000,
        "The longest such pause.";
    backplane_pending_max: Count = 8192,
        "Publications on their way to Redis; a further one is refused with 503, and who publishes waits above half of it.";
    backplane_pending_bytes_max: Bytes = 32 << 20,
        "Bytes of such publications.";
    backplane_reply_bytes_max: Bytes = 64 << 20,
        "Length of a reply from Redis; a longer one ends the connection.";
    backplane_log_min: Count = 256,
        "Publications that Redis keeps of a room at the least, so that a node that was away misses none.";
    backplane_room_age: Time = 86_400_000,
        "Time for which Redis keeps a room that nobody uses.";
    backplane_canary_interval: Time = 500,
        "How often a node publishes through Redis for itself alone, to know that it can.";
    backplane_canary_age: Time = 2_000,
        "Age of the latest such canary that has come back above which a node is not ready.";
    backplane_shards_max: Count = 128,
        "Servers of a Redis Cluster that a node is connected to, with two connections each.";
    backplane_slots_interval: Time = 10_000,
        "How often a Redis Cluster is asked which server has which rooms, besides whenever one has moved.";
    channels_expiry: Time = 60_000,
        "Time after which a message on a Channels layer is dropped that nobody has taken; `expiry` in Django's settings, which is to be the same.";
    channels_group_expiry: Time = 86_400_000,
        "Time after which a channel has left its groups, unless it has joined them anew; `group_expiry` in Django's settings.";
    channels_capacity: Count = 100,
        "Messages a channel takes, and a process for all of its own; a further one is dropped. `capacity` in Django's settings.";
    channels_message_bytes_max: Bytes = 1 << 20,
        "Length of a message on a Channels layer; a longer one is neither sent (1009, 413) nor taken.";
    inbox_messages_max: Count = 4096,
        "Requests from other threads waiting for the loop; a further one is refused to its caller.";
    inbox_bytes_max: Bytes = 16 << 20,
        "Payload bytes waiting in the inbox.";
    ping_interval: Time = 25_000,
        "Silence after which a connection is pinged.";
    pong_deadline: Time = 15_000,
        "Time from that ping to any byte; a connection silent for longer is gone.";
    unacknowledged_deadline: Time = 40_000,
        "Time for which what was sent may stay unacknowledged by the peer's kernel (TCP_USER_TIMEOUT); 0 for the kernel's own, a quarter of an hour.";
    close_deadline: Time = 5_000,
        "Time for a peer to answer a Close frame (RFC 6455 §7.1.1).";
    linger_deadline: Time = 2_000,
        "Time after the last byte sent for the peer to close TCP, so that it can read what was sent.";
    drain_delay: Time = 0,
        "Time for which a server that is to end says that it is not ready and goes on, so that a load balancer sees it.";
    listener_linger: Time = 250,
        "Time for which a listener with reuse_port takes in handshakes that had begun before it closed, while new ones go to the others.";
    drain_duration: Time = 5_000,
        "Time over which the connections of a server that ends are closed, so that they do not come back all at once.";
    drain_rate: Count = 500,
        "Connections closed per second at least: few of them take less than drain_duration.";
    drain_retry: Time = 2_000,
        "Longest wait before coming back that a closed connection is told; the shortest is half of it.";
    takeover_bytes_max: Bytes = 64 << 20,
        "Length of the rooms that a process hands over to the next; past it rooms go without their history.";
    takeover_deadline: Time = 5_000,
        "Time for the next process to take over; then the old one goes on.";
    record_bytes_max: Bytes = 1 << 30,
        "Length of a recording; then it ends, and the server goes on.";
    record_queue_bytes_max: Bytes = 64 << 20,
        "Bytes of a recording that wait for a slow disk; past it the recording ends, and the server goes on.";
    shutdown_deadline: Time = 10_000,
        "Time for all connections to close when the server stops; drain_delay and drain_duration are within it.";
}

impl Limits {
    /// The limits that a running server keeps: what they size is made when it starts.
    pub const FIXED: &'static [&'static str] = &[
        "accept_backlog",
        "unacknowledged_deadline",
        "connections_max",
        "receive_buffer",
        "events_max",
        "spare_bytes_max",
        "room_log_bytes_max",
        "ledger_rooms_max",
        "ledger_classes_max",
        "inbox_messages_max",
        "inbox_bytes_max",
    ];

    /// Takes over what can change while a server runs; returns the names of those that differ and stay as they are.
    pub fn adopt(&mut self, new: &Limits) -> Vec<&'static str> {
        let mut stay = Vec::new();
        for limit in Self::TABLE {
            let value = (limit.get)(new);
            let is_fixed = Self::FIXED.contains(&limit.name);
            if !is_fixed {
                (limit.set)(self, value);
            } else if value != (limit.get)(self) {
                stay.push(limit.name);
            }
        }
        stay
    }

    /// Whether a message of this length is long enough to be worth compressing, and not too long.
    pub fn deflates(&self, len: usize) -> bool {
        (self.deflate_bytes_min..=self.deflate_bytes_max).contains(&len)
    }

    /// Says which limits contradict each other, in a sentence for each.
    pub fn contradictions(&self) -> Vec<String> {
        let rules = [
            (
                self.outbound_bytes_low > self.outbound_bytes_high,
                "outbound_bytes_low is above outbound_bytes_high",
            ),
            (
                self.outbound_bytes_high > self.outbound_bytes_max,
                "outbound_bytes_high is above outbound_bytes_max",
            ),
            (self.receive_buffer < 1024, "receive_buffer is below 1KiB"),
            (self.head_bytes_max < 256, "head_bytes_max is below 256"),
            (self.proxy_header_bytes_max < 232, "proxy_header_bytes_max is below 232, two Unix addresses"),
            (self.control_bytes_max < 254, "control_bytes_max is below 254, two control frames"),
            (self.drain_rate == 0, "drain_rate is 0"),
            (
                self.drain_delay >= self.shutdown_deadline && !self.drain_delay.is_zero(),
                "drain_delay is not below shutdown_deadline",
            ),
            (self.accept_budget == 0, "accept_budget is 0"),
            (self.ready_lag_age.is_zero(), "ready_lag_age is 0"),
            (self.takeover_deadline.is_zero(), "takeover_deadline is 0"),
            (self.page_entries_max == 0, "page_entries_max is 0"),
            (self.survey_slice == 0, "survey_slice is 0"),
            (self.flush_budget == 0, "flush_budget is 0"),
            (self.events_max == 0, "events_max is 0"),
            (self.backplane_canary_interval.is_zero(), "backplane_canary_interval is 0"),
            (
                self.backplane_canary_age < self.backplane_canary_interval,
                "backplane_canary_age is below backplane_canary_interval",
            ),
            (
                self.backplane_pending_bytes_max < self.message_bytes_max,
                "backplane_pending_bytes_max is below message_bytes_max",
            ),
            (self.presence_lease.as_millis() < 300, "presence_lease is below 300ms"),
            (self.presence_pending_max == 0, "presence_pending_max is 0"),
            (self.channels_capacity == 0, "channels_capacity is 0"),
            (
                self.channels_message_bytes_max > self.backplane_reply_bytes_max / 4,
                "channels_message_bytes_max is above a quarter of backplane_reply_bytes_max",
            ),
            (self.read_budget == 0, "read_budget is 0"),
            (self.inflate_budget == 0, "inflate_budget is 0"),
            (self.frame_budget == 0, "frame_budget is 0"),
            (self.accept_backlog > i32::MAX as usize, "accept_backlog does not fit the kernel's integer"),
            (self.receive_buffer > 1 << 30, "receive_buffer is above 1GiB"),
            (self.headers_max > 1 << 16, "headers_max is above 65536"),
            (
                self.unacknowledged_deadline.as_millis() > i32::MAX as u128,
                "unacknowledged_deadline does not fit the kernel's integer",
            ),
            (self.events_max > 1 << 20, "events_max is above 1048576"),
        ];
        rules.iter().filter(|(broken, _)| *broken).map(|(_, text)| (*text).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_read_back_from_how_it_is_shown() {
        for limit in Limits::TABLE {
            let mut limits = Limits::default();
            limit.parse_into(&mut limits, &limit.show(&Limits::default())).unwrap();
            assert_eq!(limits, Limits::default(), "{}", limit.name);
        }
        assert_eq!(Limits::default().contradictions(), Vec::<String>::new());
    }

    #[test]
    fn a_layers_message_that_no_reply_has_room_for_is_a_contradiction() {
        let limits =
            Limits { channels_message_bytes_max: 17 << 20, channels_capacity: 0, ..Limits::default() };
        assert_eq!(limits.contradictions().len(), 2);
    }

    #[test]
    fn a_look_through_the_server_that_would_go_nowhere_for_ever_is_a_contradiction() {
        let limits = Limits { survey_slice: 0, ..Limits::default() };
        assert_eq!(limits.contradictions(), ["survey_slice is 0"]);
    }

    #[test]
    fn a_running_server_takes_over_what_it_can_and_names_what_stays() {
        for name in Limits::FIXED {
            assert!(Limit::named(name).is_some(), "{name}");
        }
        let mut limits = Limits::default();
        let new =
            Limits { walk_slice: 7, connections_max: 7, head_deadline: Duration::ZERO, ..limits.clone() };
        assert_eq!(limits.adopt(&new), ["connections_max"]);
        assert_eq!(limits, Limits { walk_slice: 7, head_deadline: Duration::ZERO, ..Limits::default() });
        assert_eq!(limits.adopt(&limits.clone()), [""; 0]);
    }

    #[test]
    fn written_limits_and_what_they_mean() {
        let rows: &[(&str, &str, Option<u64>)] = &[
            ("message_bytes_max", "16MiB", Some(16 << 20)),
            ("message-bytes-max", "64KiB", Some(64 << 10)),
            ("message_bytes_max", "1000", Some(1000)),
            ("message_bytes_max", "16MB", None),
            ("message_bytes_max", "", None),
            ("message_bytes_max", "-1", None),
            ("message_bytes_max", "99999999999GiB", None),
            ("ping_interval", "250ms", Some(250)),
            ("ping_interval", "2m", Some(120_000)),
            ("ping_interval", "10", None),
            ("walk_slice", "64", Some(64)),
            ("walk_slice", "64KiB", None),
        ];
        for (name, text, want) in rows {
            let limit = Limit::named(name).unwrap();
            let mut limits = Limits::default();
            let got = limit.parse_into(&mut limits, text).map(|()| (limit.get)(&limits));
            assert_eq!(got.as_ref().ok(), want.as_ref(), "{name} = {text}: {got:?}");
        }
    }
}
