//! A gate's decision as it is written down: what a visitor may do, and not how it has proved it.

use serde::{Deserialize, Serialize};

use super::rights::{Access, Right, RoomPattern};
use super::{Scope, Visitor};
use crate::http::response::Refusal;
use crate::record::known;

/// A decision, written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pass {
    /// It is let in.
    Admitted(Admitted),
    /// It is not, for a reason.
    Refused(String),
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    user: Option<String>,
    /// The name of its token, which proves nothing.
    token_id: Option<String>,
    expires_ms: Option<u64>,
    /// The rights in some rooms; `None` for everything everywhere.
    access: Option<Vec<Entry>>,
    only_joins: bool,
    could_prove: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    rooms: Vec<String>,
    rights: Vec<String>,
}

impl Pass {
    /// Writes a decision down.
    pub fn of(decision: &Result<Visitor, Refusal>) -> Self {
        match decision {
            Ok(visitor) => Pass::Admitted(Admitted::of(visitor)),
            Err(refusal) => Pass::Refused(refusal.reason().to_owned()),
        }
    }

    /// Takes the decision again; a gate refuses with [`Refusal::Unauthorized`] alone.
    ///
    /// # Errors
    /// The refusal that was written down.
    pub fn decide(self) -> Result<Visitor, Refusal> {
        match self {
            Pass::Admitted(admitted) => Ok(admitted.visitor()),
            Pass::Refused(reason) => Err(Refusal::Unauthorized(known(reason))),
        }
    }
}

impl Admitted {
    fn of(visitor: &Visitor) -> Self {
        let user = visitor.name();
        let (scope, only_joins) = match &visitor.scope {
            Scope::Read(scope) => (&**scope, true),
            scope => (scope, false),
        };
        let access = match scope {
            // A gate reads no scope into another one twice.
            Scope::Everything | Scope::Read(_) => None,
            Scope::Granted(grants) => {
                let own = grants.iter().filter(|grant| grant.names(user));
                Some(own.map(|grant| Entry::of(&grant.access)).collect())
            }
            Scope::Own(own) => Some(own.iter().map(Entry::of).collect()),
        };
        Self {
            user: user.map(str::to_owned),
            token_id: visitor.token_id.as_deref().map(str::to_owned),
            expires_ms: visitor.expires_ms,
            access,
            only_joins,
            could_prove: visitor.could_prove,
        }
    }

    fn visitor(self) -> Visitor {
        let own = |access: Vec<Entry>| Scope::Own(access.iter().map(Entry::access).collect());
        let scope = self.access.map_or(Scope::Everything, own);
        let scope = if self.only_joins { Scope::Read(Box::new(scope)) } else { scope };
        Visitor {
            user: self.user.map(Into::into),
            token_id: self.token_id.map(Into::into),
            expires_ms: self.expires_ms,
            scope,
            could_prove: self.could_prove,
        }
    }
}

impl Entry {
    fn of(access: &Access) -> Self {
        let rights = Right::ALL.into_iter().filter(|right| access.rights.has(*right));
        let name = |pattern: &RoomPattern| match pattern {
            RoomPattern::Exact(name) => name.clone(),
            RoomPattern::Prefix(prefix) => format!("{prefix}*"),
        };
        Self {
            rooms: access.rooms.iter().map(name).collect(),
            rights: rights.map(|right| right.name().to_owned()).collect(),
        }
    }

    fn access(&self) -> Access {
        Access {
            rooms: self.rooms.iter().filter_map(|room| RoomPattern::parse(room).ok()).collect(),
            rights: self.rights.iter().filter_map(|right| Right::named(right)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rights::Grant;
    use super::*;

    fn access(rooms: &[&str], rights: &[Right]) -> Access {
        let rooms = rooms.iter().map(|room| RoomPattern::parse(room).unwrap()).collect();
        Access { rooms, rights: rights.iter().copied().collect() }
    }

    #[test]
    fn a_decision_that_was_written_down_allows_and_refuses_the_same() {
        let grant = |user: &str, room: &str, right| Grant {
            users: vec![user.to_owned()],
            access: access(&[room], &[right]),
        };
        let grants: std::sync::Arc<[Grant]> = [
            grant("mary", "lobby", Right::Publish),
            grant("*", "news.*", Right::Join),
            grant("john", "*", Right::Presence),
        ]
        .into();
        let scopes = [
            Scope::Everything,
            Scope::Granted(grants.clone()),
            Scope::Own([access(&["a", "b*"], &[Right::Join, Right::Publish])].into()),
            Scope::Read(Box::new(Scope::Granted(grants))),
            Scope::Read(Box::new(Scope::Everything)),
        ];
        let people = [None, Some("mary"), Some("john")];
        for (scope, user) in scopes.iter().flat_map(|scope| people.map(|user| (scope, user))) {
            for could_prove in [false, true] {
                let user = user.map(Into::into);
                let token_id = Some("jti".into());
                let was = Visitor { user, token_id, expires_ms: Some(7), scope: scope.clone(), could_prove };
                let text = serde_json::to_string(&Pass::of(&Ok(was.clone()))).unwrap();
                let is = serde_json::from_str::<Pass>(&text).unwrap().decide().unwrap();
                assert_eq!((is.name(), is.expires_ms()), (was.name(), was.expires_ms()));
                for room in ["lobby", "news.sport", "a", "bee", ""] {
                    for right in Right::ALL {
                        assert_eq!(is.check(right, room), was.check(right, room), "{text} {right:?} {room}");
                    }
                }
            }
        }
        let refused = Refusal::Unauthorized("the token has expired");
        assert_eq!(Pass::of(&Err(refused)).decide().unwrap_err(), refused);
    }
}
