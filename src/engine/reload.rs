//! A change of the handler and of the rules while connections are open.

use super::handler::Handler;
use super::{Engine, Rules, Transport};

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Lets `change` have the handler and the rules, and goes on with what it made of them.
    ///
    /// The limits in [`Limits::FIXED`](crate::limits::Limits::FIXED) stay as they are; so do all limits where the new
    /// ones contradict each other. What is agreed with a connection that is open stays agreed.
    pub fn reload(&mut self, change: impl FnOnce(&mut H, &mut Rules)) {
        let mut rules = self.shared.rules.clone();
        change(&mut self.handler, &mut rules);
        if rules.limits.contradictions().is_empty() {
            self.shared.rules.limits.adopt(&rules.limits);
        }
        self.shared.rules.origins = rules.origins;
        self.shared.rules.deflate = rules.deflate;
        self.shared.renew_budget();
        self.shared.rules.trusted_proxies = rules.trusted_proxies;
        self.shared.rooms.set_limits(&self.shared.rules.limits);
        self.share_limits();
        self.inflater.set_limits(&self.shared.rules.limits);
        // A deadline may be nearer now than the one that is filed.
        for id in self.ids() {
            self.schedule(id);
        }
    }

    /// Every bound, as it is now.
    pub fn limits(&self) -> &crate::limits::Limits {
        &self.shared.rules.limits
    }
}
