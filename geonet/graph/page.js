const show = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target || target.tagName !== "DETAILS") return;
  for (let d = target; d; d = d.parentElement.closest("details")) d.open = true;
  target.firstElementChild.focus();
  target.scrollIntoView();
};
addEventListener("hashchange", show);
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.getAttribute("href") === location.hash) show();
});
const buttons = document.querySelector(".buttons");
buttons.hidden = false;
buttons.addEventListener("click", (event) => {
  if (event.target.dataset.open === undefined) return;
  for (const d of document.querySelectorAll("details")) d.open = !!event.target.dataset.open;
});
show();
