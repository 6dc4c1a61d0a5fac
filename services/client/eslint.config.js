import jsxA11y from "eslint-plugin-jsx-a11y";
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

const features = ["session", "people", "conversations", "thread", "notifications"];

export default tseslint.config(
  { ignores: ["dist", "src/api/generated"] },
  ...tseslint.configs.recommended,
  jsxA11y.flatConfigs.strict,
  reactHooks.configs.flat.recommended,
  {
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      eqeqeq: "error",
      "no-console": "error",
      "no-restricted-properties": ["error", { object: "Math", property: "random", message: "Randomness is a parameter." }],
      "no-restricted-syntax": [
        "error",
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: "Text becomes React nodes, never markup.",
        },
        {
          selector: "AssignmentExpression[left.property.name=/^(innerHTML|outerHTML)$/]",
          message: "Text becomes React nodes, never markup.",
        },
      ],
      // The log is scrolled by keyboard, so it has to take the focus.
      "jsx-a11y/no-noninteractive-tabindex": ["error", { roles: ["log"], tags: [] }],
    },
  },
  {
    files: ["scripts/**"],
    languageOptions: { globals: { process: "readonly", console: "readonly", URL: "readonly" } },
    rules: { "no-console": "off" },
  },
  // Features meet in src/app only.
  ...features.map((feature) => ({
    files: [`src/features/${feature}/**`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              group: features.filter((other) => other !== feature).map((other) => `**/${other}/**`),
              message: "Features never import each other.",
            },
            { group: ["**/app/**"], message: "The app knows the features, not the other way round." },
          ],
        },
      ],
    },
  })),
);
