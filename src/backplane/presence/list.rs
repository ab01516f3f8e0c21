//! Questions who is in a room, over all nodes, and their answers.

use super::super::line::Expected;
use super::super::resp::Reply;
use super::super::{Backplane, Event};
use crate::id::ConnId;
use crate::room::presence::{Census, Roster};
use crate::room::publish::Ticket;

impl Backplane {
    /// Asks who is in a room, for a connection that waits for it: the users after this name, at most so many. The answer
    /// is an event; there is none where Redis cannot be asked, or too many ask.
    pub fn ask_who(
        &mut self,
        room: &str,
        (after, limit): (&str, usize),
        asker: ConnId,
        now_ms: u64,
    ) -> Option<Ticket> {
        if self.settles_ms(room).is_none()
            || self.presence.questions.len() >= self.limits.presence_pending_max
        {
            return None;
        }
        self.presence.asked += 1;
        let number = self.presence.asked;
        self.presence.questions.insert(number, asker);
        let (sha, limit) = (self.presence.list.sha.clone(), limit.to_string());
        let more = [after.as_bytes(), limit.as_bytes()];
        self.ask_presence(room, &sha, &more, Expected::Listed(number), now_ms);
        Some(Ticket(number))
    }

    /// Takes the answer.
    pub(in super::super) fn hear_listed(&mut self, number: u64, reply: &Reply) {
        if let Reply::Error(error) = reply {
            let why = String::from_utf8_lossy(error);
            self.remark = Some(format!("backplane {}: {why}", self.target.url));
        }
        self.answer_list(number, roster(reply));
    }

    pub(super) fn answer_list(&mut self, number: u64, roster: Option<Roster>) {
        if let Some(asker) = self.presence.questions.remove(&number) {
            self.events.push_back(Event::Listed(asker, roster.map(Box::new)));
        }
    }
}

fn roster(reply: &Reply) -> Option<Roster> {
    let [is_known, members, users, nodes, page] = reply.list() else { return None };
    let count = |reply: &Reply| Some(reply.number()? as usize);
    let census = Census { members: count(members)?, users: count(users)?, nodes: count(nodes)? };
    let page = page.list().chunks_exact(2);
    let page = page.map(|entry| Some((entry.first()?.text()?.to_owned(), entry.get(1)?.number()?)));
    Some(Roster { is_known: is_known.number()? > 0, census, users: page.collect::<Option<_>>()? })
}
