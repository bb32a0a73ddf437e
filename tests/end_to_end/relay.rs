//! A line between two addresses, which can be broken in the ways that networks break.
//!
//! Invariant: bytes of a connection come in order or not at all; what was read from one side and cannot be passed on any
//! more is lost with its connection, as it is in a router that is switched off. A thread a connection and direction.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use socket2::SockRef;

const BUFFER_BYTES: usize = 64 << 10;
/// How often it is looked for a new connection, or for the end of a cut.
const LOOK: Duration = Duration::from_millis(5);

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Bytes pass.
    Open,
    /// Connections break, and new ones are refused.
    Cut,
    /// Connections stand, new ones too, and no byte passes.
    Hole,
}

struct State {
    line: Line,
    /// Connections of an earlier one pass no byte any more, and stand.
    generation: u64,
    streams: Vec<TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until bytes of `generation` may pass. False when none will.
    fn may_pass(&self, generation: u64) -> bool {
        let is_held = |state: &mut State| {
            state.line == Line::Hole || state.line == Line::Open && state.generation > generation
        };
        self.changed.wait_while(self.state(), is_held).unwrap().line == Line::Open
    }
}

/// See the module's page.
pub struct Relay {
    shared: Arc<Shared>,
}

impl Relay {
    /// Who connects to `from` is connected to `to`.
    pub fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let state = State { line: Line::Open, generation: 0, streams: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let listening = listen(from).unwrap();
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || accept(&of_thread, listening, (from, to)));
        Self { shared }
    }

    /// Connections break, and new ones are refused.
    pub fn cut(&self) {
        self.set(Line::Cut);
    }

    /// Nothing passes and nothing breaks.
    pub fn hole(&self) {
        self.set(Line::Hole);
    }

    /// What still stands goes on, and new connections come through.
    pub fn mend(&self) {
        self.set(Line::Open);
    }

    /// New connections come through; those that stand are forgotten: no byte of theirs passes any more, and nobody says so.
    pub fn forget(&self) {
        self.shared.state().generation += 1;
        self.set(Line::Open);
    }

    fn set(&self, line: Line) {
        let mut state = self.shared.state();
        state.line = line;
        if line == Line::Cut {
            // The threads that pass its bytes wake up; whoever closes it last sends a reset.
            for stream in state.streams.drain(..) {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                let _ = stream.shutdown(Shutdown::Read);
            }
        }
        self.shared.changed.notify_all();
    }
}

fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// For as long as the process lives. While the line is cut nobody listens.
fn accept(shared: &Arc<Shared>, listening: TcpListener, (from, to): (SocketAddr, SocketAddr)) {
    let mut listening = Some(listening);
    loop {
        match shared.state().line {
            Line::Cut => listening = None,
            _ if listening.is_none() => listening = listen(from).ok(),
            _ => {}
        }
        match listening.as_ref().map(TcpListener::accept) {
            Some(Ok((near, _))) => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || connect(&shared, near, to));
            }
            Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            None => {}
        }
        std::thread::sleep(LOOK);
    }
}

fn connect(shared: &Arc<Shared>, near: TcpStream, to: SocketAddr) {
    let generation = shared.state().generation;
    if !shared.may_pass(generation) {
        return;
    }
    let Ok(far) = TcpStream::connect(to) else { return };
    near.set_nonblocking(false).unwrap();
    let both = [&near, &far].map(|stream| {
        let _ = stream.set_nodelay(true);
        stream.try_clone().unwrap()
    });
    {
        let mut state = shared.state();
        if state.line == Line::Cut {
            return;
        }
        state.streams.extend(both);
    }
    for (from, to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            pass(&shared, generation, &from, &to);
            if shared.state().line != Line::Cut {
                // Whatever ended one direction ends the connection.
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            }
        });
    }
}

fn pass(shared: &Shared, generation: u64, mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let bytes = from.read(&mut buffer).unwrap_or(0);
        // A connection's end does not pass either while nothing does.
        if !shared.may_pass(generation) || bytes == 0 || to.write_all(&buffer[..bytes]).is_err() {
            return;
        }
    }
}
