//! What a sink's connection has sent and not yet heard of, in order.
//!
//! At QoS 1 a publish is settled by the PUBACK with its packet id, in whatever order they come; at QoS 0 by being
//! written to the socket. Invariant: packet ids are given out one after the other, so a publish is found by counting
//! from the oldest, and what is left when the connection is lost is still in order.

use std::collections::VecDeque;

/// How a publish is recognised when it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// QoS 1: its packet id.
    Id(u16),
    /// QoS 0: how many bytes the connection will have written when it is out.
    Written(u64),
}

/// The publishes on their way.
#[derive(Debug)]
pub(super) struct Flight<T> {
    /// Oldest first; none where it is settled already.
    sent: VecDeque<(Mark, Option<T>)>,
    next_id: u16,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { sent: VecDeque::new(), next_id: 1 }
    }
}

impl<T> Flight<T> {
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The oldest that is not settled.
    pub fn oldest(&self) -> Option<&T> {
        self.sent.front().and_then(|(_, item)| item.as_ref())
    }

    /// The packet id that the next [`Flight::push_acknowledged`] is sent with.
    pub fn next_id(&self) -> u16 {
        self.next_id
    }

    /// `item` is sent with [`Flight::next_id`]. At most 65535 may be on their way.
    pub fn push_acknowledged(&mut self, item: T) {
        self.sent.push_back((Mark::Id(self.next_id), Some(item)));
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
    }

    /// `item` is sent when the connection has written `until` bytes.
    pub fn push_written(&mut self, item: T, until: u64) {
        self.sent.push_back((Mark::Written(until), Some(item)));
    }

    /// The publish with this packet id, if it was waiting for its acknowledgement.
    pub fn acknowledge(&mut self, id: u16) -> Option<T> {
        let (Mark::Id(oldest), _) = *self.sent.front()? else { return None };
        if id == 0 {
            return None;
        }
        // Ids go from 1 to 65535 and begin again.
        let behind = (u32::from(id) + 65_535 - u32::from(oldest)) % 65_535;
        let item = self.sent.get_mut(behind as usize)?.1.take();
        while self.sent.front().is_some_and(|(_, item)| item.is_none()) {
            self.sent.pop_front();
        }
        item
    }

    /// The oldest publish that is out, when the connection has written `written` bytes.
    pub fn pop_written(&mut self, written: u64) -> Option<T> {
        match self.sent.front() {
            Some((Mark::Written(until), _)) if *until <= written => self.sent.pop_front()?.1,
            _ => None,
        }
    }

    /// What is not settled, in order; ids begin anew.
    pub fn take(&mut self) -> impl DoubleEndedIterator<Item = T> + use<T> {
        self.next_id = 1;
        std::mem::take(&mut self.sent).into_iter().filter_map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_come_in_any_order() {
        let mut flight = Flight::default();
        for item in ['a', 'b', 'c'] {
            flight.push_acknowledged(item);
        }
        assert_eq!(flight.acknowledge(2), Some('b'));
        assert_eq!((flight.acknowledge(2), flight.acknowledge(0), flight.acknowledge(9)), (None, None, None));
        assert_eq!(flight.len(), 3, "the oldest is still out");
        assert_eq!(flight.acknowledge(1), Some('a'));
        assert_eq!(flight.len(), 1);
        flight.push_acknowledged('d');
        assert_eq!(flight.take().collect::<Vec<_>>(), ['c', 'd']);
        assert_eq!((flight.next_id(), flight.is_empty()), (1, true));
    }

    #[test]
    fn ids_begin_again_without_zero() {
        let mut flight = Flight::default();
        for number in 0..200_000_u32 {
            let id = flight.next_id();
            assert_ne!(id, 0);
            flight.push_acknowledged((number, id));
            if flight.len() > 3 {
                // The second oldest, then the oldest.
                let (_, id) = flight.sent[1].1.unwrap();
                assert_eq!(flight.acknowledge(id), Some((number - 2, id)));
                let (_, id) = flight.sent[0].1.unwrap();
                assert_eq!(flight.acknowledge(id), Some((number - 3, id)));
            }
        }
    }

    #[test]
    fn at_qos_0_what_is_written_is_done() {
        let mut flight = Flight::default();
        flight.push_written('a', 10);
        flight.push_written('b', 20);
        assert_eq!(
            (flight.pop_written(9), flight.pop_written(15), flight.pop_written(15)),
            (None, Some('a'), None)
        );
        assert_eq!(flight.take().collect::<Vec<_>>(), ['b']);
    }
}
