// The page's own switches: light and dark, which pictures are shown. Everything is readable without it.
"use strict";
(() => {
  const page = document.documentElement;
  const toggle = document.querySelector("[data-theme-toggle]");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => page.dataset.theme || (dark.matches ? "dark" : "light");
  const name = () => { toggle.textContent = current() === "dark" ? "Light page" : "Dark page"; };
  if (toggle) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => { page.dataset.theme = current() === "dark" ? "light" : "dark"; name(); });
    dark.addEventListener("change", name);
    name();
  }

  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const choose = () => {
    const value = (field) => gallery.querySelector(`input[name=${field}]:checked`)?.value;
    const kind = value("picture-kind"), view = value("picture-view");
    const all = gallery.querySelector("input[name=picture-trims]")?.checked ?? true;
    for (const set of gallery.querySelectorAll("[data-view]")) set.hidden = set.dataset.view !== view;
    for (const figure of gallery.querySelectorAll("figure[data-subject]")) {
      const picture = figure.querySelector(`img[data-kind=${kind}]`);
      const photograph = figure.dataset.subject === "photograph";
      for (const image of figure.querySelectorAll("img")) image.hidden = !photograph && image !== picture;
      figure.hidden = !photograph && (!picture || (!all && figure.dataset.further === "yes"));
    }
    for (const legend of gallery.querySelectorAll("[data-legend]")) legend.hidden = legend.dataset.legend !== kind;
  };
  gallery.querySelectorAll("input").forEach((input) => input.addEventListener("change", choose));
  gallery.dataset.state = "switched";
  choose();
})();
