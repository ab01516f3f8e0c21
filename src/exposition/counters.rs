//! Under which names the server's counts are shown.

/// A count and how it is shown.
pub(super) struct Row {
    /// The count, as the server names it.
    pub(super) count: &'static str,
    /// Its family, without the prefix; rows of one family stand side by side.
    pub(super) family: &'static str,
    /// What tells it apart within its family.
    pub(super) label: Option<(&'static str, &'static str)>,
    /// What the family counts.
    pub(super) help: &'static str,
}

const fn row(count: &'static str, family: &'static str, help: &'static str) -> Row {
    Row { count, family, label: None, help }
}

const fn refused(count: &'static str, status: &'static str) -> Row {
    let (family, help) = ("requests_refused", "Requests refused, by status.");
    Row { count, family, label: Some(("status", status)), help }
}

/// Every count, once.
pub(super) const ROWS: &[Row] = &[
    row("accepted", "sockets_accepted", "Connections accepted, before anything is known of them."),
    row("accept_errors", "accept_errors", "Errors of accept."),
    row("proxies_refused", "proxies_refused", "Connections dropped at a listener for proxies."),
    row("opened", "connections_opened", "WebSocket connections opened."),
    row("ended", "connections_ended", "WebSocket connections ended, in whatever way."),
    row(
        "violations",
        "connections_violated",
        "WebSocket connections ended since the peer broke the protocol.",
    ),
    row("lost", "connections_lost", "WebSocket connections ended without a Close frame from either side."),
    row("shed", "connections_shed", "Connections ended since they held the most when memory was short."),
    row("passed", "members_passed", "Members closed since their room's log had moved past them."),
    row("requests", "requests", "Plain HTTP requests answered."),
    refused("refused_400", "400"),
    refused("refused_403", "403"),
    refused("refused_404", "404"),
    refused("refused_405", "405"),
    refused("refused_426", "426"),
    refused("refused_431", "431"),
    refused("refused_503", "503"),
    refused("refused_other", "other"),
    row("messages", "messages_received", "Messages received."),
    row("bytes_in", "received_bytes", "Bytes received."),
    row("replies", "replies", "Messages sent to one connection alone."),
    row("replies_refused", "replies_refused", "Messages refused since too much waited for their connection."),
    row("publications", "publications", "Messages published to rooms."),
    row(
        "publications_repeated",
        "publications_repeated",
        "Publications that had come before with the same key.",
    ),
    row(
        "publications_unheard",
        "publications_unheard",
        "Messages not published, for want of members or of room.",
    ),
    row(
        "publications_failed",
        "publications_failed",
        "Publications that the backplane did not answer in time.",
    ),
    row(
        "queues_full",
        "queues_full",
        "Queues of a Channels layer that were full, and were not sent something.",
    ),
    row(
        "publications_deflated",
        "publications_deflated",
        "Publications that were compressed, each once for all.",
    ),
    row("deflated_bytes_before", "deflate_input_bytes", "Bytes of those before."),
    row("deflated_bytes_after", "deflate_output_bytes", "Bytes of those after."),
    row(
        "skipped",
        "publications_skipped",
        "Publications that slow members were not sent, by their room's rule.",
    ),
    row("rooms_reset", "rooms_reset", "Rooms whose history was lost, so that their members were told."),
    row("turns", "loop_turns", "Turns of the loop."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn every_count_is_shown_once_and_families_stand_together() {
        let counts: Vec<&str> = Metrics::default().all().into_iter().map(|(name, _)| name).collect();
        for count in &counts {
            assert_eq!(ROWS.iter().filter(|row| row.count == *count).count(), 1, "{count}");
        }
        assert_eq!(ROWS.len(), counts.len());
        let mut families: Vec<&str> = ROWS.iter().map(|row| row.family).collect();
        families.dedup();
        let (len, once) = (families.len(), families.iter().collect::<std::collections::BTreeSet<_>>().len());
        assert_eq!(len, once, "{families:?}");
    }
}
