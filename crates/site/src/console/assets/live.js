// Brings a page up to date while it is open. Every page works without it.
"use strict";
(() => {
  const region = document.getElementById("live");
  const state = document.getElementById("live-state");
  if (region && window.EventSource) {
    const address = "/live?page=" + encodeURIComponent(location.pathname + location.search);
    const told = (text) => { if (state) state.textContent = text; };
    const show = (text) => {
      // Nobody's typing, choice or open detail is taken away.
      const active = document.activeElement;
      if (region.contains(active) && active.matches("input, select, textarea")) return;
      const open = [...region.querySelectorAll("details")].map((one) => one.open);
      const focused = region.contains(active) ? [...region.querySelectorAll("a, button, summary")].indexOf(active) : -1;
      region.innerHTML = text;
      region.querySelectorAll("details").forEach((one, at) => { if (open[at] !== undefined) one.open = open[at]; });
      if (focused >= 0) region.querySelectorAll("a, button, summary")[focused]?.focus();
    };
    // Seconds until the next try, twice as many after each that came to nothing: the site may be full of views.
    const FIRST = 2, LONGEST = 300;
    let wait = FIRST;
    const again = () => {
      told(state.dataset.lost);
      setTimeout(ask, wait * 1000);
      wait = Math.min(wait * 2, LONGEST);
    };
    // A stream does not say why it was refused; the same address asked for plainly does.
    const ask = async () => {
      const stop = new AbortController();
      try {
        const answer = await fetch(address, { redirect: "manual", signal: stop.signal });
        // Sent elsewhere: the session is over.
        if (answer.type === "opaqueredirect" || answer.status === 401) location.reload();
        else if (answer.ok) follow();
        else again();
      } catch { again(); } finally { stop.abort(); }
    };
    const follow = () => {
      const source = new EventSource(address);
      let seen = false;
      source.addEventListener("changed", (event) => {
        seen = true;
        wait = FIRST;
        told(state.dataset.live);
        show(event.data);
      });
      source.addEventListener("error", () => {
        told(state.dataset.lost);
        // It tries again by itself unless it was refused.
        if (source.readyState === EventSource.CLOSED) again();
      });
      // One that ends before it showed anything would end again after a reload.
      source.addEventListener("ended", () => { source.close(); if (seen) location.reload(); else again(); });
      source.addEventListener("too-large", () => { source.close(); told(state.dataset.still); });
    };
    follow();
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      document.getElementById("search")?.focus();
    }
  });
})();
