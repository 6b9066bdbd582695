/** Components that are drawn again only if their properties differ. */

import { Component, type FunctionComponent, h } from "preact";

/** `isEqual`: by default all properties must be identical. */
export function memo<Props extends object>(
  inner: FunctionComponent<Props>,
  isEqual: (old: Readonly<Props>, next: Readonly<Props>) => boolean = areIdentical,
): new (props: Props) => Component<Props> {
  return class extends Component<Props> {
    override shouldComponentUpdate(next: Readonly<Props>): boolean {
      return !isEqual(this.props, next);
    }

    override render() {
      return h(inner, this.props as Props & { children?: never });
    }
  };
}

function areIdentical<Props extends object>(old: Props, next: Props): boolean {
  const names = Object.keys(next) as (keyof Props)[];
  return (
    names.length === Object.keys(old).length && names.every((name) => old[name] === next[name])
  );
}
