//! The listener: a plain thread that accepts, counts, and starts a session for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use may::coroutine;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::limits::{ACCEPT_PAUSE, BACKLOG, SEND_BUFFER_BYTES, TURNED_AWAY_MAX, WARN_EVERY};
use crate::serve::House;
use crate::session;
use crate::threads;

/// Dead peers are noticed after about a minute and a half.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// Binds `address`. Not with `may`'s own listener: that one would let two servers share a port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port in TIME_WAIT after a restart is taken at once; one that somebody listens on is not.
    socket.set_reuse_address(true)?;
    // Those that are accepted inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The listening thread.
pub(crate) struct Listener {
    socket: Socket,
    thread: thread::JoinHandle<()>,
}

impl Listener {
    /// Starts to accept.
    pub(crate) fn start(listener: TcpListener, house: &Arc<House>) -> io::Result<Self> {
        let socket = Socket::from(listener.try_clone()?);
        let served = Arc::clone(house);
        let thread = threads::start("listen".to_owned(), &house.means.metrics, move || accept(&listener, &served))?;
        Ok(Self { socket, thread })
    }

    /// Accepts no more.
    pub(crate) fn stop(self) {
        // Shutting a listening socket down makes its accept return; the flag tells the thread why.
        if self.socket.shutdown(std::net::Shutdown::Both).is_ok() {
            let _ = self.thread.join();
        }
    }
}

fn accept(listener: &TcpListener, house: &Arc<House>) {
    // When the log was told last; so that the first failure is told at once, an hour ago at the beginning.
    let mut failing = Instant::now().checked_sub(WARN_EVERY).unwrap_or_else(Instant::now);
    loop {
        let accepted = listener.accept();
        if house.sessions.is_stopping() {
            return;
        }
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, house),
            Err(error) => {
                if failing.elapsed() >= WARN_EVERY {
                    failing = Instant::now();
                    tracing::warn!(%error, "connections cannot be accepted; those that wait are taken in as soon as it goes again");
                }
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

fn begin(stream: TcpStream, peer: SocketAddr, house: &Arc<House>) {
    let (metrics, connections) = (&house.means.metrics, house.connections);
    metrics.accepted.add_one();
    let Some(entry) = house.sessions.enter(connections, TURNED_AWAY_MAX) else {
        metrics.turned_away.add_one();
        tracing::debug!(connections, "all connections are taken, and many wait to be turned away; one was dropped");
        return;
    };
    if !entry.welcome {
        metrics.turned_away.add_one();
        tracing::debug!(connections, "all connections are taken; one is turned away");
    }
    if let Err(error) = prepare(&stream) {
        // The peer is gone already.
        tracing::debug!(%peer, %error, "a connection ended before it began");
        return;
    }
    tracing::debug!(%peer, "connected");
    let house = Arc::clone(house);
    let serve = move || {
        session::run(stream, &entry, &house);
        tracing::debug!(%peer, "disconnected");
    };
    #[expect(unsafe_code, reason = "starting a coroutine is unsafe by nature")]
    // SAFETY: a coroutine must not overflow its stack and must not hold a reference into thread-local storage over a wait. The stack is
    // proven on half its size by a test (`stack_tests.rs`) with the deepest line and rows of every kind; a session uses its worker's
    // thread-local buffer inside one closure that never waits.
    let spawned = unsafe { coroutine::Builder::new().spawn(serve) };
    if let Err(error) = spawned {
        tracing::warn!(%error, "no coroutine could be started for a connection");
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
