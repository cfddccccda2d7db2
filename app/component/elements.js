// Making elements. Text from data goes in as text nodes; the only HTML that goes in as such is what app/views.py made.

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

// A button that a key presses too; the key stands on it. It gives the focus away, so that a space does not press it again.
const button = (words, key, press, look = "") =>
  make(
    "button",
    {
      type: "button",
      class: look,
      onclick: (event) => {
        event.currentTarget.blur();
        press();
      },
    },
    make("span", {}, words),
    key ? make("kbd", {}, key) : null,
  );

const fill = (element, ...children) => element.replaceChildren(...children.filter(Boolean));
