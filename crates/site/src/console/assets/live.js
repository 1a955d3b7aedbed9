// Brings a page up to date while it is open. Every page works without it.
"use strict";
(() => {
  const region = document.getElementById("live");
  const state = document.getElementById("live-state");
  if (region && window.EventSource) {
    const source = new EventSource("/live?page=" + encodeURIComponent(location.pathname + location.search));
    const told = (text) => { if (state) state.textContent = text; };
    source.addEventListener("changed", (event) => {
      told(state.dataset.live);
      // Nobody's typing, choice or open detail is taken away.
      const active = document.activeElement;
      if (region.contains(active) && active.matches("input, select, textarea")) return;
      const open = [...region.querySelectorAll("details")].map((one) => one.open);
      const focused = region.contains(active) ? [...region.querySelectorAll("a, button, summary")].indexOf(active) : -1;
      region.innerHTML = event.data;
      region.querySelectorAll("details").forEach((one, at) => { if (open[at] !== undefined) one.open = open[at]; });
      if (focused >= 0) region.querySelectorAll("a, button, summary")[focused]?.focus();
    });
    source.addEventListener("open", () => told(state.dataset.live));
    source.addEventListener("error", () => {
      told(state.dataset.lost);
      // Sent elsewhere, as after the end of a session, a stream does not try again by itself.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
    });
    source.addEventListener("ended", () => { source.close(); location.reload(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      document.getElementById("search")?.focus();
    }
  });
})();
