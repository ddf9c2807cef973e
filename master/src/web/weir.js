// Keeps a page new: swaps in a newer <main>, and says when the master is not there.
"use strict";

const RETRY_MS = 3000;
const RELOAD_MS = 2000;
const link = document.getElementById("link");

function say(state, text) {
  if (link.dataset.state !== state) {
    link.dataset.state = state;
    link.textContent = text;
  }
}

// Someone who selects text wants to copy it: it stays until they are done.
function selecting() {
  const selection = getSelection();
  return !selection.isCollapsed && document.getElementById("main").contains(selection.anchorNode);
}

function swap(next) {
  const main = document.getElementById("main");
  if (!next || selecting() || main.isEqualNode(next)) return;
  const focused = main.contains(document.activeElement) ? document.activeElement.id : "";
  const scrolled = [...main.querySelectorAll(".scroll")].map((part) => part.scrollLeft);
  const open = [...main.querySelectorAll("details")].map((part) => part.open);
  main.replaceWith(next);
  next.querySelectorAll(".scroll").forEach((part, at) => (part.scrollLeft = scrolled[at] || 0));
  next.querySelectorAll("details").forEach((part, at) => (part.open = open[at] || false));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function mainOf(html) {
  return new DOMParser().parseFromString(html, "text/html").getElementById("main");
}

function live() {
  const source = new EventSource("/live");
  source.onopen = () => say("on", "live");
  source.onmessage = (event) => swap(mainOf(event.data));
  source.onerror = () => {
    say("off", "disconnected, trying again");
    // The browser tries again by itself, unless it was refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(live, RETRY_MS);
  };
}

async function reload() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    say("on", "live");
    swap(page.getElementById("main"));
    if (page.body.dataset.refresh === "never") return say("done", "");
  } catch {
    say("off", "disconnected, trying again");
  }
  setTimeout(reload, RELOAD_MS);
}

if (document.body.dataset.refresh === "live") live();
if (document.body.dataset.refresh === "reload") reload();
