//! A plain TCP balancer, as stands before replicas: it knows connections and no protocol.
//!
//! A new connection goes to the next backend that takes it. Backends come and go while it runs: one that has been taken
//! off gets no new connection and keeps those it has, until [`Balancer::cut`] ends them as a health check does.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a backend may take to accept.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a new connection waits for a backend when all refuse: they may be starting again.
const PATIENCE: Duration = Duration::from_secs(5);

/// It ends when it is dropped, and its connections with it.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    backends: Arc<Backends>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Backends {
    state: Mutex<State>,
    /// Counts what ends connections: a cut, or the end of the balancer.
    cuts: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// In turn.
    serving: Vec<SocketAddr>,
    next: usize,
    counts: BTreeMap<SocketAddr, Counts>,
    ended: bool,
}

/// What a backend has had from the balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that it has taken.
    pub taken: u64,
    /// Those that are open.
    pub open: u64,
    /// Connections that it has refused; another one got them.
    pub refused: u64,
    /// Times that its connections were cut.
    cuts: u64,
}

impl Balancer {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(backends: impl IntoIterator<Item = SocketAddr>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let all = Arc::new(Backends::default());
        all.with(|state| state.serving.extend(backends));
        let accepting = tokio::spawn(accept(listener, all.clone()));
        Ok(Self { address, backends: all, accepting })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends new connections to this backend too.
    pub fn add(&self, backend: SocketAddr) {
        self.backends.with(|state| {
            if !state.serving.contains(&backend) {
                state.serving.push(backend);
            }
        });
    }

    /// Sends no new connection to this backend; those that it has stay.
    pub fn remove(&self, backend: SocketAddr) {
        self.backends.with(|state| state.serving.retain(|other| *other != backend));
    }

    /// Ends all connections to this backend.
    pub fn cut(&self, backend: SocketAddr) {
        self.backends.with(|state| state.counts.entry(backend).or_default().cuts += 1);
        self.backends.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What this backend has had so far.
    pub fn counts(&self, backend: SocketAddr) -> Counts {
        self.backends.with(|state| state.counts.get(&backend).copied().unwrap_or_default())
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.backends.with(|state| state.ended = true);
        self.backends.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Backends {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // Whole after any panic: every change is one assignment.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The backends in the order in which a new connection asks them.
    fn in_turn(&self) -> Vec<SocketAddr> {
        self.with(|state| {
            let mut order = state.serving.clone();
            if !order.is_empty() {
                let first = state.next % order.len();
                order.rotate_left(first);
                state.next = first + 1;
            }
            order
        })
    }

    /// A connection to the first backend that takes one.
    async fn connect(&self) -> Option<(TcpStream, SocketAddr)> {
        let asked = tokio::time::Instant::now();
        while asked.elapsed() < PATIENCE {
            for backend in self.in_turn() {
                let connected = tokio::time::timeout(CONNECT, TcpStream::connect(backend)).await;
                let taken = connected.ok().and_then(Result::ok);
                self.with(|state| {
                    let counts = state.counts.entry(backend).or_default();
                    match taken {
                        Some(_) => (counts.taken, counts.open) = (counts.taken + 1, counts.open + 1),
                        None => counts.refused += 1,
                    }
                });
                if let Some(stream) = taken {
                    return Some((stream, backend));
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

async fn accept(listener: TcpListener, backends: Arc<Backends>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(pass(client, backends.clone()))),
            // Of one connection, or too many open files: others may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn pass(mut client: TcpStream, backends: Arc<Backends>) {
    let Some((mut server, backend)) = backends.connect().await else { return };
    let cuts = |state: &State| state.counts.get(&backend).map_or(0, |counts| counts.cuts);
    let mut cut = backends.cuts.subscribe();
    let before = backends.with(|state| cuts(state));
    // Small frames go at once, as a balancer passes them.
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    tokio::select! {
        // Whichever side ended it: the other is told by the end of its own connection.
        _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _cut = cut.wait_for(|_| backends.with(|state| state.ended || cuts(state) != before)) => {}
    }
    backends.with(|state| state.counts.entry(backend).or_default().open -= 1);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Answers every byte with its name.
    async fn backend(name: u8) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(
                    async move { while stream.read_u8().await.is_ok() && stream.write_u8(name).await.is_ok() {} },
                );
            }
        });
        (address, answering)
    }

    async fn client(balancer: &Balancer) -> TcpStream {
        TcpStream::connect(balancer.address).await.unwrap()
    }

    async fn name(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_u8(0).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn connections_go_round_and_past_backends_that_are_away() {
        let ((one, _one), (two, stopped), (three, _three)) = (backend(1).await, backend(2).await, backend(3).await);
        let balancer = Balancer::start([one, two]).await.unwrap();
        let mut names = vec![];
        for _ in 0..4 {
            names.push(name(&mut client(&balancer).await).await.unwrap());
        }
        assert_eq!(names, [1, 2, 1, 2]);
        stopped.abort();
        let _ = stopped.await;
        balancer.add(three);
        for _ in 0..6 {
            assert_ne!(name(&mut client(&balancer).await).await.unwrap(), 2);
        }
        assert!(balancer.counts(two).refused > 0 && balancer.counts(two).taken == 2);
        assert!(balancer.counts(one).taken > 2 && balancer.counts(three).taken > 0);
    }

    #[tokio::test]
    async fn a_backend_that_is_taken_off_keeps_its_connections_until_they_are_cut() {
        let ((one, _one), (two, _two)) = (backend(1).await, backend(2).await);
        let balancer = Balancer::start([one]).await.unwrap();
        let mut old = client(&balancer).await;
        assert_eq!(name(&mut old).await.unwrap(), 1);
        balancer.add(two);
        balancer.remove(one);
        assert_eq!(name(&mut client(&balancer).await).await.unwrap(), 2);
        assert_eq!(name(&mut old).await.unwrap(), 1);
        let mut other = client(&balancer).await;
        assert_eq!(name(&mut other).await.unwrap(), 2);
        balancer.cut(one);
        assert!(name(&mut old).await.is_err(), "cut");
        assert_eq!(name(&mut other).await.unwrap(), 2, "nobody else is");
        assert_eq!(balancer.counts(one).open, 0);
    }
}
