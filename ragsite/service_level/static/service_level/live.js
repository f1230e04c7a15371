// Shows the page as it is now, every ten seconds, while somebody looks at it and types nothing into it.
const EVERY = 10_000;

async function renew() {
  const live = document.getElementById("live");
  if (document.hidden || live.contains(document.activeElement)) return;
  const response = await fetch(location.href).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
  if (fresh) live.replaceWith(fresh);
}

setInterval(renew, EVERY);
