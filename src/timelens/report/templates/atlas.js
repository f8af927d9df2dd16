(function () {
  "use strict";
  var DATA = JSON.parse(document.getElementById("data").textContent);
  var KINDS = ["components", "targets", "agents", "modalities"];
  var FAMILIES = ["nuclear", "magnetic", "acoustic", "x-ray", "optical", "magnetic particle", "thermal", "hybrid", "tissue"];
  var STAGES = ["clinical", "preclinical", "in vitro", "in silico", "not stated"];
  var BY = {};
  KINDS.concat("interventions").forEach(function (kind) {
    BY[kind] = {};
    DATA[kind].forEach(function (row) { BY[kind][row.id] = row; });
  });
  DATA.agents.forEach(function (agent) {
    ["components", "targets", "modalities", "nuclides", "synonyms", "evidence"].forEach(function (name) { agent[name] = agent[name] || []; });
    agent.families = unique(agent.modalities.map(function (id) { return BY.modalities[id].family; }));
    agent.species = unique((agent.binds || []).concat(agent.imaged_in || [], (agent.doses || []).map(function (dose) { return dose.species; })));
    agent.words = [agent.id, agent.name, agent.signal, agent.setting, agent.label_text].concat(
      agent.synonyms, agent.nuclides, agent.labels || [],
      names("components", agent.components), names("targets", agent.targets), names("modalities", agent.modalities)
    ).join(" ").toLowerCase();
  });
  var state = { q: "", families: [], stages: [], species: "", nuclide: "", gaps: false };

  function unique(list) { return list.filter(function (each, place) { return list.indexOf(each) === place; }); }
  function names(kind, ids) {
    return ids.map(function (id) {
      var row = BY[kind][id];
      return [row.name].concat(row.synonyms || [], row.symbols || []).join(" ");
    });
  }
  function short(row) { return (row.synonyms && row.synonyms[0] && row.synonyms[0].length < row.name.length) ? row.synonyms[0] : row.name; }
  function colour(family) { return "var(--" + family.replace(/ /g, "-") + ")"; }
  function element(name, attributes, text) {
    var made = document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function drawn(name, attributes, text) {
    var made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.keys(attributes || {}).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function fits(agent) {
    return (!state.families.length || agent.families.some(function (each) { return state.families.indexOf(each) >= 0; })) &&
      (!state.stages.length || state.stages.indexOf(agent.stage) >= 0) &&
      (!state.nuclide || agent.nuclides.indexOf(state.nuclide) >= 0) &&
      (!state.species || (agent.species.indexOf(state.species) >= 0 && (agent.does_not_bind || []).indexOf(state.species) < 0)) &&
      state.q.toLowerCase().split(/\s+/).every(function (word) { return agent.words.indexOf(word) >= 0; });
  }

  // ---------------------------------------------------------------- the network
  var box = document.getElementById("network");
  var placed = {}, calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  function move(spot) { return "translate(" + spot.x + "px," + spot.y + "px)"; }
  function mean(list) { return list.length ? list.reduce(function (sum, each) { return sum + each; }, 0) / list.length : null; }
  function columns(shown) {
    var found = { components: [], targets: [], agents: shown.slice(), modalities: [] };
    ["components", "targets", "modalities"].forEach(function (kind) {
      found[kind] = DATA[kind].filter(function (row) { return shown.some(function (agent) { return agent[kind].indexOf(row.id) >= 0; }); });
    });
    // Components and modalities keep their order; what lies between goes where its neighbours are, so that lines are short.
    var rank = {};
    ["components", "modalities"].forEach(function (kind) {
      found[kind].forEach(function (row, place) { rank[kind + row.id] = (place + 0.5) / found[kind].length; });
    });
    function place(kind, of) {
      found[kind].forEach(function (row) { row.rank = of(row); });
      found[kind].sort(function (a, b) { return (a.rank === null ? 2 : a.rank) - (b.rank === null ? 2 : b.rank) || (a.name < b.name ? -1 : 1); });
      found[kind].forEach(function (row, at) { rank[kind + row.id] = (at + 0.5) / found[kind].length; });
    }
    function ranks(kind, ids) { return ids.map(function (id) { return rank[kind + id]; }).filter(function (each) { return each !== undefined; }); }
    place("targets", function (row) {
      return mean([].concat.apply([], shown.filter(function (agent) { return agent.targets.indexOf(row.id) >= 0; }).map(function (agent) { return ranks("components", agent.components); })));
    });
    place("agents", function (agent) {
      var near = mean(ranks("targets", agent.targets)), cells = mean(ranks("components", agent.components)), ways = mean(ranks("modalities", agent.modalities));
      var left = near === null ? cells : near;
      return left === null ? ways : ways === null ? left : 0.75 * left + 0.25 * ways;
    });
    return found;
  }
  function curve(a, b) {
    var bend = (b.x - a.x) * 0.5;
    return "M" + a.x + "," + a.y + "C" + (a.x + bend) + "," + a.y + " " + (b.x - bend) + "," + b.y + " " + b.x + "," + b.y;
  }
  function network(shown) {
    box.textContent = "";
    box.classList.toggle("few", shown.length <= 45);
    if (!shown.length) { box.appendChild(element("p", { "class": "empty" }, "No agent meets all conditions. Clear one of them.")); return; }
    var found = columns(shown);
    var width = 1240, tall = Math.max(found.components.length, found.targets.length, shown.length <= 45 ? shown.length : 65, found.modalities.length);
    var height = Math.max(300, tall * 14.5), top = 34;
    var at = { components: 268, targets: 560, agents: 776, modalities: 1075 };
    var svg = drawn("svg", { viewBox: "0 0 " + width + " " + (height + top + 12), role: "group", "aria-label": "Network of components, targets, agents and modalities" });
    var titles = { components: "Component", targets: "Target", agents: "Agent", modalities: "Modality" };
    KINDS.forEach(function (kind) {
      svg.appendChild(drawn("text", { "class": "head", x: at[kind], y: 14, "text-anchor": kind === "components" ? "end" : kind === "modalities" ? "start" : "middle" }, titles[kind] + " " + found[kind].length));
    });
    var spots = {}, edges = {};
    KINDS.forEach(function (kind) {
      var count = found[kind].length, step = Math.min(height / count, 34), start = top + (height - step * count) / 2;
      found[kind].forEach(function (row, place) { spots[kind + ":" + row.id] = { x: at[kind] + (kind === "agents" && step < 8 ? (place % 4 - 1.5) * 13 : 0), y: Math.round(10 * (start + step * (place + 0.5))) / 10 }; });
    });
    function join(a, b, agent) {
      var key = a + "|" + b;
      edges[key] = edges[key] || { a: a, b: b, agents: [] };
      edges[key].agents.push(agent);
    }
    shown.forEach(function (agent) {
      var self = "agents:" + agent.id;
      agent.targets.forEach(function (target) {
        join("targets:" + target, self, agent);
        agent.components.forEach(function (component) { join("components:" + component, "targets:" + target, agent); });
      });
      if (!agent.targets.length) agent.components.forEach(function (component) { join("components:" + component, self, agent); });
      agent.modalities.forEach(function (way) { join(self, "modalities:" + way, agent); });
    });
    var lines = drawn("g", {});
    Object.keys(edges).forEach(function (key) {
      var edge = edges[key], way = edge.b.indexOf("modalities:") === 0 ? BY.modalities[edge.b.slice(11)].family : edge.agents[0].families[0];
      edge.line = drawn("path", { "class": "edge", d: curve(spots[edge.a], spots[edge.b]), style: "--c:" + (way ? colour(way) : "var(--other)") });
      lines.appendChild(edge.line);
    });
    svg.appendChild(lines);
    var nodes = {};
    KINDS.forEach(function (kind) {
      found[kind].forEach(function (row) {
        var key = kind + ":" + row.id, spot = spots[key], uses = kind === "agents" ? 1 : shown.filter(function (agent) { return agent[kind].indexOf(row.id) >= 0; }).length;
        var radius = kind === "agents" ? 3.4 : 3 + Math.min(9, Math.sqrt(uses) * 1.05);
        var hue = kind === "modalities" ? colour(row.family) : kind === "agents" ? "var(--" + (row.stage === "clinical" || row.stage === "preclinical" ? row.stage : "other") + ")" : kind === "targets" ? "var(--accent)" : "var(--ink)";
        var node = drawn("g", { "class": "node " + kind, tabindex: "0", role: "button", "aria-label": row.name, "data-open": key, style: "--c:" + hue });
        node.style.transform = move(spot);
        if (kind === "agents") node.appendChild(drawn("path", { "class": "leader" }));
        node.appendChild(drawn("circle", { r: radius }));
        var left = kind === "components" || kind === "targets";
        var label = kind === "modalities" ? short(row) : kind === "targets" && row.symbols ? (row.name.length < 22 ? row.name : row.symbols.join("/")) : row.name;
        if (label.length > 44) label = label.slice(0, 43) + "…";
        node.appendChild(drawn("text", { x: left ? -radius - 4 : radius + 4, "text-anchor": left ? "end" : "start" }, label));
        svg.appendChild(node);
        nodes[key] = node;
        if (placed[key] && (placed[key].x !== spot.x || placed[key].y !== spot.y) && !calm) {
          node.animate([{ transform: move(placed[key]) }, { transform: move(spot) }], { duration: 420, easing: "cubic-bezier(.3,.8,.3,1)" });
        }
        placed[key] = spot;
      });
    });
    function light(key) {
      var kind = key.split(":")[0], id = key.slice(kind.length + 1), lit = {};
      var chosen = shown.filter(function (agent) { return kind === "agents" ? agent.id === id : agent[kind].indexOf(id) >= 0; });
      box.classList.add("on");
      Object.keys(edges).forEach(function (name) {
        var edge = edges[name];
        var on = edge.agents.some(function (agent) { return chosen.indexOf(agent) >= 0; }) && !(edge.a.split(":")[0] === kind && edge.a !== key) && !(edge.b.split(":")[0] === kind && edge.b !== key);
        edge.line.classList.toggle("lit", on);
        if (on) { lit[edge.a] = lit[edge.b] = true; }
      });
      lit[key] = true;
      if (shown.length > 45) spread(chosen, kind === "agents" ? BY.agents[id] : null);
      Object.keys(nodes).forEach(function (name) {
        nodes[name].classList.toggle("lit", !!lit[name]);
        nodes[name].classList.toggle("core", name === key);
        nodes[name].classList.toggle("named", !!lit[name] && (chosen.length <= 26 || name === key));
      });
    }
    // Names of lit agents stand one below the other at the right of the beads, each with a line to its own.
    function spread(chosen, only) {
      var named = chosen.length <= 26 ? chosen.slice() : only ? [only] : [];
      named.sort(function (a, b) { return spots["agents:" + a.id].y - spots["agents:" + b.id].y; });
      var step = 14, ys = named.map(function (agent) { return spots["agents:" + agent.id].y; });
      for (var turn = 0; turn < 60; turn++) {
        for (var place = 1; place < ys.length; place++) {
          var missing = step - (ys[place] - ys[place - 1]);
          if (missing > 0.1) { ys[place] += missing / 2; ys[place - 1] -= missing / 2; }
        }
      }
      named.forEach(function (agent, place) {
        var spot = spots["agents:" + agent.id], node = nodes["agents:" + agent.id], text = node.querySelector("text");
        var x = at.agents + 36 - spot.x, y = Math.max(top, Math.min(height + top, ys[place])) - spot.y;
        text.setAttribute("x", x + 4);
        text.setAttribute("y", y);
        node.querySelector(".leader").setAttribute("d", "M0,0L" + x + "," + y);
      });
    }
    function dark() {
      box.classList.remove("on");
      Object.keys(nodes).forEach(function (name) { nodes[name].classList.remove("named", "core"); });
    }
    Object.keys(nodes).forEach(function (key) {
      nodes[key].addEventListener("pointerenter", function () { light(key); });
      nodes[key].addEventListener("pointerleave", dark);
      nodes[key].addEventListener("focus", function () { light(key); });
      nodes[key].addEventListener("blur", dark);
    });
    box.appendChild(svg);
  }

  // ---------------------------------------------------------------- the matrix
  function best(list) {
    return list.some(function (agent) { return agent.stage === "clinical"; }) ? "clinical" : list.some(function (agent) { return agent.stage === "preclinical"; }) ? "preclinical" : "other";
  }
  function matrix(shown) {
    var host = document.getElementById("matrix"), allowed = {}, table = element("table", {}), head = element("tr", {}), body = element("tbody", {});
    host.textContent = "";
    shown.forEach(function (agent) { allowed[agent.id] = true; });
    var ways = DATA.modalities.filter(function (way) {
      return state.gaps ? (!state.families.length || state.families.indexOf(way.family) >= 0) : shown.some(function (agent) { return agent.modalities.indexOf(way.id) >= 0; });
    });
    head.appendChild(element("th", { scope: "col" }));
    ways.forEach(function (way) {
      var cell = element("th", { scope: "col", style: "--c:" + colour(way.family) });
      cell.appendChild(element("button", { type: "button", "data-open": "modalities:" + way.id, title: way.name }, short(way)));
      head.appendChild(cell);
    });
    var section = "";
    DATA.components.forEach(function (row) {
      var direct = row.direct.filter(function (id) { return allowed[id]; }), by = row.by_target.filter(function (id) { return allowed[id]; });
      if (!state.gaps && !direct.length && !by.length) return;
      if (row.section !== section) {
        section = row.section;
        var part = element("tr", { "class": "part" });
        part.appendChild(element("th", { scope: "rowgroup" }, section));
        part.appendChild(element("td", { colspan: Math.max(1, ways.length) }));
        body.appendChild(part);
      }
      var line = element("tr", direct.length || by.length ? {} : { "class": "blind" }), name = element("th", { scope: "row", style: "--depth:" + row.depth });
      name.appendChild(element("button", { type: "button", "data-open": "components:" + row.id }, row.name));
      line.appendChild(name);
      ways.forEach(function (way) {
        var cell = element("td", {});
        function among(ids) { return ids.map(function (id) { return BY.agents[id]; }).filter(function (agent) { return agent.modalities.indexOf(way.id) >= 0; }); }
        var used = among(direct), list = used.length ? used : among(by);
        if (list.length) {
          var text = list.length + (list.length === 1 ? " agent shows " : " agents show ") + row.name + " by " + way.name + (used.length ? "" : ", through a target that it carries");
          cell.appendChild(element("button", { type: "button", "class": "cell " + best(list) + (used.length ? "" : " ring"), style: "--n:" + Math.min(6, Math.sqrt(list.length) - 1).toFixed(2), title: text, "aria-label": text, "data-cell": row.id + "|" + way.id }, String(list.length)));
        }
        line.appendChild(cell);
      });
      body.appendChild(line);
    });
    if (!body.children.length) { host.appendChild(element("p", { "class": "empty" }, "No agent meets all conditions.")); return; }
    table.appendChild(element("thead", {})).appendChild(head);
    table.appendChild(body);
    host.appendChild(table);
  }

  // ---------------------------------------------------------------- the card
  var card = document.getElementById("card");
  function links(kind, ids) {
    var span = element("span", {});
    ids.forEach(function (id, place) {
      if (place) span.appendChild(document.createTextNode(", "));
      span.appendChild(element("a", { role: "link", tabindex: "0", "data-open": kind + ":" + id }, BY[kind][id].name));
    });
    return span;
  }
  function fact(list, term, value) {
    if (!value || (typeof value === "string" && !value.trim()) || (value.childNodes && !value.childNodes.length)) return;
    list.appendChild(element("dt", {}, term));
    var cell = list.appendChild(element("dd", {}));
    cell.appendChild(typeof value === "string" ? document.createTextNode(value) : value);
  }
  function range(pair, unit) { return pair ? (pair[0] === pair[1] ? pair[0] : pair[0] + "–" + pair[1]) + " " + unit : ""; }
  function agentsOf(list, title) {
    if (!list.length) return;
    card.appendChild(element("h4", {}, title + " (" + list.length + ")"));
    var rows = card.appendChild(element("ul", {}));
    list.slice().sort(function (a, b) { return b.strength - a.strength; }).forEach(function (agent) {
      var item = rows.appendChild(element("li", {}));
      item.appendChild(links("agents", [agent.id]));
      item.appendChild(element("span", { "class": "src" }, "  " + agent.modalities.map(function (id) { return short(BY.modalities[id]); }).join(", ") + " · "));
      item.appendChild(element("span", { "class": "stage " + agent.stage.replace(/ /g, "-") }, agent.stage));
    });
  }
  function begin(title, sub) {
    card.hidden = false;
    card.textContent = "";
    card.scrollTop = 0;
    var close = card.appendChild(element("button", { type: "button", "class": "close", "aria-label": "Close" }, "✕"));
    close.addEventListener("click", shut);
    card.appendChild(element("h3", {}, title));
    card.appendChild(element("p", { "class": "sub" }, sub));
  }
  function shut() { card.hidden = true; history.replaceState(null, "", location.pathname + location.search); }
  function finish(row) {
    (row.cautions || (row.caution ? [row.caution] : [])).forEach(function (text) { card.appendChild(element("p", { "class": "warn" }, text)); });
    (row.doubts || []).forEach(function (doubt) {
      var note = card.appendChild(element("p", { "class": "warn bad" }));
      note.appendChild(element("b", {}, "The article says: "));
      note.appendChild(document.createTextNode(doubt.says + " "));
      note.appendChild(element("b", {}, "Correct is: "));
      note.appendChild(document.createTextNode(doubt.correct + (doubt.source ? " [" + doubt.source + "]" : "")));
    });
    if ((row.evidence || []).length) {
      card.appendChild(element("h4", {}, "Evidence"));
      var list = card.appendChild(element("ul", {}));
      row.evidence.forEach(function (id) {
        var one = DATA.evidence[id], item = list.appendChild(element("li", {}, one.shown + " "));
        var where = [one.level !== "not stated" ? one.level : "", one.citation ? "citation " + one.citation.join(", ") : "", one.section ? "§ " + one.section : "", one.identifier || ""];
        item.appendChild(element("span", { "class": "src" }, "(" + where.filter(Boolean).join("; ") + ")"));
      });
    }
  }
  function open(key) {
    var kind = key.split(":")[0], row = BY[kind] && BY[kind][key.slice(kind.length + 1)];
    if (!row) return;
    history.replaceState(null, "", "#" + key);
    var facts = element("dl", {});
    if (kind === "agents") {
      begin(row.name, [row.kind, row.vector_class, row.id].filter(Boolean).join(" · "));
      fact(facts, "stage", element("span", { "class": "stage " + row.stage.replace(/ /g, "-") }, row.stage));
      fact(facts, "signal", row.signal);
      fact(facts, "sees", links("components", row.components));
      fact(facts, "target", links("targets", row.targets));
      fact(facts, "by", links("modalities", row.modalities));
      fact(facts, "label", row.nuclides.map(function (id) { return id + (DATA.nuclides[id] ? " (half-life " + DATA.nuclides[id].half_life + ", " + DATA.nuclides[id].decay.join(", ") + ")" : ""); }).concat(row.label_text || []).join("; "));
      fact(facts, "also", row.synonyms.join(", "));
      fact(facts, "setting", row.setting);
      fact(facts, "binds", (row.binds || []).join(", "));
      fact(facts, "not in", (row.does_not_bind || []).join(", "));
      fact(facts, "imaged in", (row.imaged_in || []).join(", "));
      (row.doses || []).forEach(function (dose) {
        fact(facts, dose.species, [range(dose.activity_mbq, "MBq"), range(dose.mass_mg, "mg"), dose.window_h ? "imaged at " + range(dose.window_h, "h") : "", dose.note].filter(Boolean).join("; "));
      });
      fact(facts, "plasma", row.plasma_kinetics);
      fact(facts, "leaves by", (row.excretion || []).join(", "));
      fact(facts, "normal in", (row.normal_uptake || []).join(", "));
      fact(facts, "models", (row.kinetic_models || []).join(", "));
      fact(facts, "note", row.note);
      card.appendChild(facts);
      finish(row);
    } else if (kind === "components") {
      begin(row.name, row.kind + " · " + row.id);
      fact(facts, "role", row.role);
      fact(facts, "part of", row.parent ? links("components", [row.parent]) : "");
      fact(facts, "markers", (row.markers || []).join(", "));
      fact(facts, "targets", links("targets", row.targets || []));
      fact(facts, "also", (row.synonyms || []).join(", "));
      card.appendChild(facts);
      agentsOf(row.direct.map(function (id) { return BY.agents[id]; }), "Agents that show it");
      agentsOf(row.by_target.map(function (id) { return BY.agents[id]; }), "Through a target that it carries");
      if (!row.direct.length && !row.by_target.length) card.appendChild(element("p", { "class": "warn" }, "No agent on record shows this: an open place on the map."));
      finish(row);
    } else if (kind === "targets") {
      begin(row.name, row.kind + " · " + (row.symbols || [row.id]).join("/"));
      fact(facts, "sits", (row.location || []).join(", "));
      fact(facts, "on", links("components", row.components || []));
      fact(facts, "also", (row.synonyms || []).join(", "));
      card.appendChild(facts);
      agentsOf(DATA.agents.filter(function (agent) { return agent.targets.indexOf(row.id) >= 0; }), "Agents");
      finish(row);
    } else {
      begin(row.name, row.family + " · " + row.id);
      fact(facts, "signal", row.signal);
      fact(facts, "also", (row.synonyms || []).join(", "));
      fact(facts, "parts", links("modalities", row.parts || []));
      card.appendChild(facts);
      agentsOf(DATA.agents.filter(function (agent) { return agent.modalities.indexOf(row.id) >= 0; }), "Agents");
    }
  }
  function openCell(component, way) {
    var row = BY.components[component], shown = DATA.agents.filter(fits);
    begin(row.name + " by " + BY.modalities[way].name, row.role || row.kind);
    function among(ids) { return ids.map(function (id) { return BY.agents[id]; }).filter(function (agent) { return agent.modalities.indexOf(way) >= 0 && shown.indexOf(agent) >= 0; }); }
    agentsOf(among(row.direct), "Agents that show it");
    agentsOf(among(row.by_target), "Through a target that it carries");
    var more = card.appendChild(element("p", {}));
    more.appendChild(links("components", [component]));
    more.appendChild(document.createTextNode(" · "));
    more.appendChild(links("modalities", [way]));
  }
  function act(event) {
    var cell = event.target.closest("[data-cell]"), item = event.target.closest("[data-open]");
    if (cell) { var pair = cell.getAttribute("data-cell").split("|"); openCell(pair[0], pair[1]); }
    else if (item) open(item.getAttribute("data-open"));
    return cell || item;
  }
  document.addEventListener("click", act);
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape" && !card.hidden) shut();
    if ((event.key === "Enter" || event.key === " ") && !event.target.matches("button, input, select") && act(event)) event.preventDefault();
  });

  // ---------------------------------------------------------------- filters
  function chips(host, values, list, paint) {
    values.forEach(function (value) {
      var chip = element("button", { type: "button", "aria-pressed": "false", style: "--c:" + paint(value) }, value);
      chip.addEventListener("click", function () {
        var place = list.indexOf(value);
        if (place < 0) list.push(value); else list.splice(place, 1);
        chip.setAttribute("aria-pressed", place < 0 ? "true" : "false");
        show();
      });
      document.getElementById(host).appendChild(chip);
    });
  }
  chips("families", FAMILIES.filter(function (family) { return DATA.agents.some(function (agent) { return agent.families.indexOf(family) >= 0; }); }), state.families, colour);
  chips("stages", STAGES.filter(function (stage) { return DATA.agents.some(function (agent) { return agent.stage === stage; }); }), state.stages, function (stage) { return "var(--" + (stage === "clinical" || stage === "preclinical" ? stage : "other") + ")"; });
  function choices(id, values) { values.forEach(function (value) { document.getElementById(id).appendChild(element("option", { value: value }, value)); }); }
  choices("species", unique([].concat.apply([], DATA.agents.map(function (agent) { return agent.species; }))).sort());
  choices("nuclide", Object.keys(DATA.nuclides).filter(function (id) { return DATA.agents.some(function (agent) { return agent.nuclides.indexOf(id) >= 0; }); }));
  ["q", "species", "nuclide"].forEach(function (id) {
    var wait;
    document.getElementById(id).addEventListener("input", function (event) {
      clearTimeout(wait);
      wait = setTimeout(function () { state[id] = event.target.value.trim(); show(); }, id === "q" ? 140 : 0);
    });
  });
  document.getElementById("gaps").addEventListener("change", function (event) { state.gaps = event.target.checked; matrix(DATA.agents.filter(fits)); });
  document.getElementById("clear").addEventListener("click", function () {
    state.q = state.species = state.nuclide = "";
    state.families.length = state.stages.length = 0;
    ["q", "species", "nuclide"].forEach(function (id) { document.getElementById(id).value = ""; });
    document.querySelectorAll(".chips button").forEach(function (chip) { chip.setAttribute("aria-pressed", "false"); });
    show();
  });
  function show() {
    var shown = DATA.agents.filter(fits), ids = {};
    shown.forEach(function (agent) { ids[agent.id] = true; });
    network(shown);
    matrix(shown);
    document.querySelectorAll("#list tbody tr").forEach(function (line) { line.hidden = !ids[line.getAttribute("data-id")]; });
    document.getElementById("count").textContent = shown.length === DATA.agents.length ? DATA.agents.length + " agents" : shown.length + " of " + DATA.agents.length + " agents";
  }
  show();
  if (location.hash.indexOf(":") > 0) open(decodeURIComponent(location.hash.slice(1)));
})();
