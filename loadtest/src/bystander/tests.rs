//! The measurement against servers with a known fault: each must be told by its kind.

use super::run::{Numbers, measure};
use super::*;
use crate::measure::Faults;
use crate::synthetic::{self, Mischief};
use std::time::Duration;

/// Four members, 40 publications and 40 echoes, against a server with a known fault.
fn meet(mischief: Mischief) -> Result<Numbers, String> {
    let origin = synthetic::start(mischief).expect("a free port");
    let server = Server { origin, pid: Some(std::process::id()), _launched: None };
    measure(&server, &load())
}

fn load() -> Load {
    Load {
        members: 4,
        rate: 100.0,
        echo_rate: 100.0,
        size: 64,
        seconds: 0.35,
        warm_up: 0.05,
        drain: 1.0,
        room_path: "/chat/bystander".to_owned(),
        echo_path: "/echo".to_owned(),
    }
}

#[test]
fn a_right_server_is_found_right() {
    let numbers = meet(Mischief::None).expect("measured");
    assert!(numbers.is_right(), "{:?} {:?}", numbers.room_faults, numbers.endings);
    assert_eq!(numbers.deliveries.0, numbers.deliveries.1);
    assert!(numbers.deliveries.1 >= 4 * 30, "{:?}", numbers.deliveries);
    assert_eq!(numbers.fan_out.count() % 4, 0);
    assert!(numbers.server_cpu.is_some());
}

#[test]
fn a_server_that_is_wrong_once_is_found_wrong_in_that_way() {
    let none = Faults::default();
    let table = [
        (Mischief::Lose, Faults { lost: 1, ..none }),
        (Mischief::Double, Faults { doubled: 1, ..none }),
        (Mischief::Swap, Faults { swapped: 1, ..none }),
        (Mischief::Alter, Faults { altered: 1, lost: 1, ..none }),
    ];
    for (mischief, faults) in table {
        let numbers = meet(mischief).expect("measured");
        assert_eq!(numbers.room_faults, faults, "{mischief:?}");
        assert_eq!(numbers.echo_faults, none, "{mischief:?}");
        assert!(!numbers.is_right(), "{mischief:?}");
        assert_eq!(numbers.as_json()["room_faults"]["lost"], faults.lost);
        let server = Server { origin: String::new(), pid: None, _launched: None };
        let report = numbers.into_report(&server, &load(), Limits { late_max: 1.0, waited_max: 1.0 });
        assert_eq!(report.errors.values().sum::<u64>(), faults.total(), "{mischief:?}");
        assert!(report.verdict.to_string().starts_with("failed: "), "{}", report.verdict);
    }
}

#[test]
fn a_member_that_is_closed_is_told_with_its_code() {
    let numbers = meet(Mischief::Close).expect("measured");
    let words: Vec<&String> = numbers.endings.keys().collect();
    assert_eq!(words, ["closed by the server with 1008"]);
    assert!(numbers.room_faults.lost > 0 && !numbers.is_right());
}

#[test]
fn a_stall_is_charged_to_every_message_planned_meanwhile() {
    let numbers = meet(Mischief::Stall(150)).expect("measured");
    assert!(numbers.is_right());
    assert!(numbers.echo.max() >= Duration::from_millis(120), "{:?}", numbers.echo.max());
    // One that counts from the sending, and sends nothing while it waits, would find a single slow echo.
    let slow = numbers.echo.count_above(Duration::from_millis(30));
    assert!(slow >= 8, "{slow} slow echoes");
}

#[test]
fn a_refused_handshake_ends_the_run_with_its_status() {
    let refused = meet(Mischief::Refuse).err().expect("no connection is opened");
    assert!(refused.contains("503"), "{refused}");
}
