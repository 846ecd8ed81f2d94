"""List the refiners that have a name."""

from .running import import_package, parser_of


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser_of(__doc__).parse_args(argv)
    import_package()
    from prettytable import PrettyTable

    from mmseg_cascadepsp.models.refiner.zoo import ZOO, build_model, find_weights

    table = PrettyTable(['name', 'config', 'parameters', 'weights'], align='l')
    for name, entry in ZOO.items():
        count = sum(value.numel() for value in build_model(name)[0].parameters())
        if entry.url:
            where = f'{entry.size}, fetched once from {entry.url}'
        else:
            where = f'{find_weights(name).stat().st_size / 1e6:.0f} MB, in the package'
        table.add_row([name, f'configs/{entry.config}', f'{count / 1e6:.1f} M', where])
    print(table)
    return 0
