//! Who makes a module, for whom others wait, and what is told meanwhile.

use std::{pin::pin, task::Poll};

use tokio::sync::Notify;

use super::*;

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Lets what runs on other threads come to its end.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), waited).await;
    assert!(in_time.is_ok(), "{what} does not come true");
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_compile_once_and_one_who_leaves_hands_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = Arc::new(open(dir.path(), sandbox()).expect("a cache"));
    let (bytes, fetches) = (wasm(GOOD), Arc::new(AtomicU32::new(0)));
    let go = Arc::new(Notify::new());
    let ask = || {
        let (cache, bytes) = (cache.clone(), bytes.clone());
        let (fetches, go) = (fetches.clone(), go.clone());
        tokio::spawn(async move {
            let fetch = async || {
                fetches.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                Ok(bytes.clone())
            };
            cache.get(key(&bytes), fetch).await.map(|_| ())
        })
    };
    let first = ask();
    until("the first fetches", || fetches.load(Ordering::Relaxed) == 1).await;
    let others: Vec<_> = (0..1_000).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    assert_eq!(fetches.load(Ordering::Relaxed), 1);

    first.abort();
    until("another one begins", || fetches.load(Ordering::Relaxed) == 2).await;
    go.notify_one();

    for other in others {
        other.await.expect("it does not panic").expect("a module");
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_done_for_a_module_is_told_until_it_is_done() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path(), sandbox()).expect("a cache");
    let bytes = wasm(GOOD);
    let wanted = key(&bytes);
    let step = || cache.step(wanted).map(|(step, _)| step);
    assert_eq!(step(), None);
    let all = [cache.compiler.turn(Urgency::Now).await];
    let fetched = Notify::new();
    let mut getting = Box::pin(cache.get(wanted, async || {
        fetched.notified().await;
        Ok(bytes.clone())
    }));
    let mut passed = Vec::new();
    let mut turns = Some(all);
    let module = loop {
        if let Poll::Ready(got) = poll_once(&mut getting).await {
            break got;
        }
        let now = step().expect("it is made");
        if passed.last() != Some(&now) {
            passed.push(now);
        }
        match now {
            PrepareStep::Turn => drop(turns.take()),
            PrepareStep::Module if turns.is_none() => fetched.notify_one(),
            _ => {}
        }
        tokio::task::yield_now().await;
    };
    module.expect("a module");
    let (module, turn, compile) = (PrepareStep::Module, PrepareStep::Turn, PrepareStep::Compile);
    // Before its turn it looks for the code on disk, which may be over before anybody looks.
    assert!(passed == [module, turn, module, compile] || passed == [turn, module, compile]);
    assert_eq!(step(), None);
}

#[tokio::test]
async fn a_module_wanted_ahead_waits_for_others_until_tasks_want_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path(), sandbox()).expect("a cache");
    let bytes = wasm(GOOD);
    let module = key(&bytes);
    let busy = cache.compiler.turn(Urgency::Now).await;
    let mut ahead = Box::pin(cache.get_ahead(module, async || Ok(bytes.clone())));
    while cache.step(module).map(|(step, _)| step) != Some(PrepareStep::Turn) {
        assert!(poll_once(&mut ahead).await.is_pending());
        tokio::task::yield_now().await;
    }
    // It goes last, whoever comes when.
    let mut other = Box::pin(cache.compiler.turn(Urgency::Now));
    assert!(poll_once(&mut ahead).await.is_pending() && poll_once(&mut other).await.is_pending());
    drop(busy);
    let Poll::Ready(busy) = poll_once(&mut other).await else { panic!("it goes first") };

    // Now tasks wait for it: it stands in line before who comes later.
    let mut wanted = Box::pin(cache.get(module, async || panic!("it is made already")));
    assert!(poll_once(&mut wanted).await.is_pending() && poll_once(&mut ahead).await.is_pending());
    let mut late = Box::pin(cache.compiler.turn(Urgency::Now));
    assert!(poll_once(&mut late).await.is_pending());
    drop(busy);
    assert!(poll_once(&mut late).await.is_pending());

    ahead.await.expect("a module");
    wanted.await.expect("a module");
}
