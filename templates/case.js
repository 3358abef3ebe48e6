(function () {
  "use strict";
  var byId = function (id) { return document.getElementById(id); };
  var all = function (selector, inside) { return Array.from((inside || document).querySelectorAll(selector)); };
  var stage = byId("stage"), svg = stage.querySelector("svg"), told = byId("told");
  var under = byId("under"), over = byId("over"), opacity = byId("opacity"), boxed = byId("boxed");
  var width = 0, height = 0, seen = { x: 0, y: 0, w: 100, h: 100 }, loaded = {}, layer = "edit", opacities = { relevance: 70 };

  var address = function (kind) { return stage.dataset.picture + "/" + kind + stage.dataset.asked; };
  var nameOf = function (kind) { return document.querySelector("#views [data-kind=" + kind + "]").dataset.name; };

  // A finger scrolls the page over a whole image, and moves one that is enlarged.
  var look = function () {
    svg.setAttribute("viewBox", [seen.x, seen.y, seen.w, seen.h].join(" "));
    svg.style.touchAction = seen.w < width ? "none" : "pan-y";
  };
  var whole = function () { seen = { x: 0, y: 0, w: width || 100, h: height || 100 }; look(); };
  var zoom = function (factor, x, y) {
    var w = Math.min(width, Math.max(width / 32, seen.w / factor)), h = w * height / width;
    var cx = x === undefined ? seen.x + seen.w / 2 : x, cy = y === undefined ? seen.y + seen.h / 2 : y;
    seen = { x: cx - (cx - seen.x) * w / seen.w, y: cy - (cy - seen.y) * h / seen.h, w: w, h: h };
    move(0, 0);
  };
  var move = function (x, y) {
    seen.x = Math.min(width - seen.w, Math.max(0, seen.x + x));
    seen.y = Math.min(height - seen.h, Math.max(0, seen.y + y));
    look();
  };
  var at = function (event) {
    var point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  };

  var lay = function (kind) {
    layer = kind;
    all(".layer").forEach(function (one) { one.setAttribute("aria-pressed", String(one.dataset.kind === kind)); });
    opacity.value = opacities[kind] === undefined ? 100 : opacities[kind];
    if (loaded[kind] && loaded.clean) { over.setAttribute("href", address(kind)); } else { over.removeAttribute("href"); }
    fade();
  };
  var fade = function () {
    opacities[layer] = Number(opacity.value);
    over.style.opacity = opacity.value / 100;
    told.textContent = loaded[layer] === undefined ? "Drawing." : loaded[layer] ?
      nameOf(layer) + " over the unedited image, opacity " + opacity.value + " %" : (loaded.clean ? "Unedited image" : "No picture");
  };

  // A picture, or the sentence that says why there is none.
  var show = function (figure) {
    var kind = figure.dataset.kind, place = figure.querySelector(".gone");
    return fetch(address(kind)).then(function (answer) {
      return answer.ok ? answer.blob().then(function () { return ""; }) : answer.text();
    }).catch(function () { return "audit view was ended; start it again."; }).then(function (why) {
      if (why) { place.textContent = why; loaded[kind] = false; return; }
      var picture = new Image();
      picture.alt = figure.dataset.name;
      return new Promise(function (done) {
        picture.onload = function () {
          loaded[kind] = true;
          if (kind === "clean") { sized(picture); }
          if (kind === "relevance") {
            var pair = document.createElement("div"), base = new Image();
            pair.className = "pair";
            base.src = address("clean");
            base.alt = "";
            picture.className = "over";
            pair.append(base, picture);
            place.replaceWith(pair);
          } else { place.replaceWith(picture); }
          done();
        };
        picture.onerror = function () { loaded[kind] = false; place.textContent = "The picture could not be shown."; done(); };
        picture.src = address(kind);
      });
    });
  };
  var sized = function (picture) {
    width = picture.naturalWidth;
    height = picture.naturalHeight;
    [under, over].forEach(function (one) { one.setAttribute("width", width); one.setAttribute("height", height); });
    under.setAttribute("href", address("clean"));
    whole();
  };

  var figures = all("#views figure");
  byId("tools").hidden = false;
  lay("edit");
  // One after the other: the server draws one at a time, and the first is what one looks at.
  figures.reduce(function (before, figure) { return before.then(function () { return show(figure); }).then(function () { lay(layer); }); }, Promise.resolve()).then(function () {
    var checked = byId("checked");
    return fetch(checked.dataset.check).then(function (answer) { return answer.json(); }).then(function (found) {
      checked.textContent = found.said;
      checked.classList.add(found.same === true ? "same" : found.same === false ? "differs" : "unknown");
    }).catch(function () { checked.textContent = "The image could not be compared with the run."; });
  });

  all(".layer").forEach(function (one) { one.addEventListener("click", function () { lay(one.dataset.kind); }); });
  opacity.addEventListener("input", fade);
  boxed.addEventListener("change", function () { byId("boxes").style.display = boxed.checked ? "" : "none"; });
  byId("closer").addEventListener("click", function () { zoom(1.5); });
  byId("further").addEventListener("click", function () { zoom(1 / 1.5); });
  byId("whole").addEventListener("click", whole);
  svg.addEventListener("wheel", function (event) { event.preventDefault(); var p = at(event); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, p[0], p[1]); }, { passive: false });
  svg.addEventListener("pointerdown", function (event) {
    var from = at(event);
    svg.setPointerCapture(event.pointerId);
    var drag = function (moved) { var to = at(moved); move(from[0] - to[0], from[1] - to[1]); };
    var end = function () { svg.removeEventListener("pointermove", drag); svg.removeEventListener("pointerup", end); svg.removeEventListener("pointercancel", end); };
    svg.addEventListener("pointermove", drag);
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
  });

  var rows = all(".rows tbody a"), current = rows.findIndex(function (one) { return one.closest("tr").hasAttribute("aria-current"); });
  var go = function (link) { if (link) { location.href = link.href; } };
  if (current >= 0) { var box = document.querySelector(".rows"), row = rows[current].closest("tr"); box.scrollTop = Math.max(0, row.offsetTop - box.clientHeight / 3); }
  // Single letters act only where the picture or its tools have the focus, so that they are in nobody's way elsewhere.
  var lookup = stage.parentElement;
  svg.focus({ preventScroll: true });
  lookup.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { return; }
    var kinds = { 1: "edit", 2: "placebo", 3: "difference", 4: "relevance" };
    var on = document.activeElement === svg, step = seen.w / 10;
    var actions = {
      "[": function () { opacity.value = Number(opacity.value) - 10; fade(); }, "]": function () { opacity.value = Number(opacity.value) + 10; fade(); },
      "+": function () { zoom(1.5); }, "=": function () { zoom(1.5); }, "-": function () { zoom(1 / 1.5); }, "0": whole,
      b: function () { boxed.click(); }, j: function () { go(rows[current + 1]); }, k: function () { go(rows[Math.max(0, current - 1)]); },
      n: function () { go(byId("following")); }, p: function () { go(byId("previous")); }, a: function () { go(byId("all")); },
      ArrowLeft: on && function () { move(-step, 0); }, ArrowRight: on && function () { move(step, 0); },
      ArrowUp: on && function () { move(0, -step); }, ArrowDown: on && function () { move(0, step); }
    };
    var act = kinds[event.key] ? function () { lay(kinds[event.key]); } : actions[event.key];
    if (act) { event.preventDefault(); act(); }
  });
})();
