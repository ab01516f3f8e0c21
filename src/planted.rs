//! Faults that can be planted in the server, one at a time, so that the simulator shows that it finds each.
//!
//! Without the feature `planted-faults` none of them can happen, and asking whether one does costs nothing.

#[cfg(feature = "planted-faults")]
use std::cell::Cell;

macro_rules! faults {
    ($($(#[$of:meta])* $list:ident: $($(#[$doc:meta])* $name:ident,)*;)*) => {
        /// Something that the server could do wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($($(#[$doc])* $name,)*)*
        }

        impl Fault {
            $($(#[$of])* pub const $list: &'static [Fault] = &[$(Fault::$name,)*];)*
        }
    };
}

faults! {
    /// Those that one node shows by itself.
    OF_ONE_NODE:
    /// That a socket takes bytes again is forgotten where only its rooms have something for it.
    EdgeForgotten,
    /// A reply of which the socket took a part counts as sent.
    ShortWriteCountsAsWhole,
    /// Each piece of a masked payload is unmasked as if it were the first.
    MaskPhaseLost,
    /// A member whose socket stopped in the middle of a frame goes on with the one after the next.
    CursorSkipsOne,
    /// When a member leaves that the walk has visited, the walk passes over the next one.
    WalkSkipsOneAfterLeave,
    /// An id that has outlived its connection finds the next one in its slot.
    GenerationIgnored,
    /// A connection whose deadline has moved on is not looked at again.
    DeadlineForgotten,
    /// A control frame goes before the rest of a reply that is partly on the wire.
    ControlInsideFrame,
    /// A Close goes before the replies that wait.
    CloseOvertakesReplies,
    /// After an error that passes with time the listener waits for an edge.
    NoRetryAfterEmfile,
    /// Who resumes is sent the publication that it has already.
    ResumeRepeatsOne,
    /// A connection that is lost stays a member of its rooms.
    LeaveForgottenOnLoss,
    /// A peer that has closed its side is read until a short read, not to the end.
    EndOfInputForgotten,
    /// Who is not sent something is told of one too many.
    SkipMiscounted,
    /// What a connection takes up is not looked at again once it is known.
    ChargeForgotten,
    /// Publishers that waited for memory are not read again.
    HeldForgotten,
    /// What a member still was to be sent is forgotten in the ledger when it leaves.
    DeliveryForgotten,
    /// A lane that is opened late begins behind the first publication that it should have.
    LateLaneOneShort,
    ;
    /// Those that it takes several nodes to see.
    OF_SEVERAL_NODES:
    /// What is announced again is appended again.
    OldNewsAppended,
    /// A page of a room is appended twice.
    PageTwice,
    /// A room goes on elsewhere, and nobody is told.
    LossNotTold,
    /// What is announced while a room is read is not read.
    NewsForgottenWhileReading,
    /// After it was deaf, a node does not read what it may have missed.
    NotReadAfterRelink,
    /// After its line of news was lost, a node listens to no room.
    UnsubscribedAfterRelink,
    /// A room goes on under another epoch, and members are not told.
    EpochNotTold,
    /// What has not been answered is sent again under another key.
    RetryWithNewKey,
    /// What has become of a publication is told to whoever asked last.
    AnswerToTheLast,
    /// A connection is taken for the author of what one of the same number has said on another node.
    ForeignAuthorTaken,
    /// Nobody looks whether the server is the one that gave the last numbers.
    ReignForgotten,
    ;
}

#[cfg(feature = "planted-faults")]
thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Plants a fault in this thread, in place of any other.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted in this thread.
#[cfg(feature = "planted-faults")]
pub fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this fault is planted in this thread: no.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub const fn is_planted(_fault: Fault) -> bool {
    false
}
