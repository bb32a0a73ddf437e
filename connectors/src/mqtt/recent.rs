//! The messages that a broker may send again, told apart from new ones by packet id and content.
//!
//! Invariant: it knows the last `messages_max` messages and no older ones. A broker has that many unacknowledged at most, so
//! an older one was acknowledged, and its packet id may come with another message that looks the same. journaled.rs asks,
//! and fills it again from the journal and the checkpoint.

use std::collections::VecDeque;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Recent {
    messages_max: usize,
    /// Packet ids in order of arrival; one may be there several times.
    packet_ids: VecDeque<u16>,
    /// By packet id, the last message that came with it: its place in the order, from 1 on, and its sum.
    last: Vec<(u64, u64)>,
    /// The place of the next message.
    next: u64,
}

impl Recent {
    pub fn new(messages_max: usize) -> Self {
        let last = vec![(0, 0); usize::from(u16::MAX) + 1];
        Self { messages_max: messages_max.max(1), packet_ids: VecDeque::new(), last, next: 1 }
    }

    /// A message came, and is taken.
    pub fn remember(&mut self, packet_id: u16, sum: u64) {
        if self.packet_ids.len() >= self.messages_max {
            self.packet_ids.pop_front();
        }
        self.packet_ids.push_back(packet_id);
        self.last[usize::from(packet_id)] = (self.next, sum);
        self.next += 1;
    }

    /// Whether a message that the broker marks as sent before was taken.
    pub fn knows(&self, packet_id: u16, sum: u64) -> bool {
        let (place, known) = self.last[usize::from(packet_id)];
        place >= self.next - self.packet_ids.len() as u64 && known == sum
    }

    /// Packet ids and sums of the last `messages`, in the order in which they are to be remembered again.
    pub fn last(&self, messages: usize) -> impl Iterator<Item = (u16, u64)> {
        let first = self.packet_ids.len().saturating_sub(messages);
        self.packet_ids.range(first..).map(|id| (*id, self.last[usize::from(*id)].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_come_again_is_known() {
        let mut recent = Recent::new(3);
        (1..=4).for_each(|id| recent.remember(id, u64::from(id) * 10));
        // The broker has an acknowledgement for the first: with its id and content another message may come.
        assert!(!recent.knows(1, 10));
        assert!((2..=4).all(|id| recent.knows(id, u64::from(id) * 10)) && !recent.knows(2, 99));
    }

    /// Some brokers give a packet id again as soon as it is free.
    #[test]
    fn a_packet_id_that_is_used_at_once_is_known_by_its_last_message() {
        let mut recent = Recent::new(3);
        for sum in 10..20 {
            recent.remember(1, sum);
            assert!(recent.knows(1, sum) && !recent.knows(1, sum - 1));
        }
        let mut again = Recent::new(3);
        recent.last(9).for_each(|(packet_id, sum)| again.remember(packet_id, sum));
        assert!(again.knows(1, 19));
        [2, 3].iter().for_each(|id| again.remember(*id, 5));
        assert!(again.knows(1, 19));
        again.remember(4, 5);
        assert!(!again.knows(1, 19));
    }
}
