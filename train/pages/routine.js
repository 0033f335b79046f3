"use strict";
// The player and the strips of each routine keep in step: a click on a strip moves the player, and the player moves the strips' marks.
const players = [];
for (const routine of document.querySelectorAll(".routine")) {
  const video = routine.querySelector("video");
  if (!video) continue;
  players.push(video);
  const inside = routine.querySelector("script.video");
  if (inside) {
    // Browsers of phones play a blob, and not an address that holds the video itself.
    const bytes = Uint8Array.from(atob(inside.textContent.trim()), (one) => one.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: inside.dataset.type }));
    inside.remove();
  }
  const go = (seconds) => {
    const end = Number.isFinite(video.duration) ? video.duration : Infinity;
    video.currentTime = Math.min(Math.max(seconds, 0), end);
  };
  const strips = [...routine.querySelectorAll(".strip[data-start]")].map((strip) => ({
    rows: strip.querySelector(".rows"),
    cursor: strip.querySelector(".cursor"),
    start: Number(strip.dataset.start),
    length: Number(strip.dataset.end) - Number(strip.dataset.start),
    seeks: strip.classList.contains("seeks"),
  }));
  const clock = (seconds) => Math.floor(seconds / 60) + ":" + String(Math.floor(seconds % 60)).padStart(2, "0");
  const show = () => {
    for (const { rows, cursor, start, length, seeks } of strips) {
      const share = Math.min(Math.max((video.currentTime - start) / length, 0), 1);
      cursor.style.left = share * 100 + "%";
      if (seeks) {
        rows.setAttribute("aria-valuenow", video.currentTime.toFixed(1));
        rows.setAttribute("aria-valuetext", clock(video.currentTime));
      }
    }
  };
  const follow = () => {
    show();
    if (!video.paused && !video.ended) requestAnimationFrame(follow);
  };
  for (const event of ["timeupdate", "seeking", "seeked", "loadedmetadata"]) video.addEventListener(event, show);
  video.addEventListener("play", follow);
  for (const { rows, start, length, seeks } of strips) {
    if (!seeks) continue;
    const at = (event) => {
      const box = rows.getBoundingClientRect();
      go(start + ((event.clientX - box.left) / box.width) * length);
    };
    rows.addEventListener("pointerdown", (event) => { if (event.button === 0) at(event); });
    rows.addEventListener("pointermove", (event) => { if (event.buttons & 1 && event.pointerType === "mouse") at(event); });
    rows.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (step) go(video.currentTime + step);
      else if (event.key === "Home") go(start);
      else if (event.key === "End") go(start + length);
      else if (event.key === " ") video.paused ? video.play() : video.pause();
      else return;
      event.preventDefault();
    });
  }
  for (const button of routine.querySelectorAll("[data-seconds]")) {
    button.addEventListener("click", () => {
      go(Number(button.dataset.seconds));
      video.scrollIntoView({ block: "nearest" });
    });
  }
  show();
}
const together = document.getElementById("together");
if (together && players.length > 1) {
  together.hidden = false;
  together.addEventListener("click", () => {
    const play = players.some((one) => one.paused);
    for (const one of players) play ? one.play() : one.pause();
    together.textContent = play ? "Pause both" : "Play both";
  });
}
// On paper, what can be unfolded is shown.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
